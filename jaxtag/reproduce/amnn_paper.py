"""What the amnn paper prints: the numbers of its tables, as data.

AMNN: attention-based multimodal neural network model for hashtag recommendation. Its tables say neither their cut-offs
nor whether their numbers are per cent; they are precision at 1, recall at 5 and accuracy at 5 (SYSTEMS 2.2).
"""

TITLE = "AMNN: attention-based multimodal neural network model for hashtag recommendation"

NAMES = {"mm_ins": "MM-INS", "harrison": "HARRISON", "nus_wide": "NUS-WIDE"}  # of the datasets
METRICS = ("precision@1", "recall@5", "accuracy@5")
Scores = tuple[float, float, float]  # of METRICS, in per cent

# Table II: what is counted, by dataset.
TABLE_2 = {
    "mm_ins": {"labels": 1000, "posts": 56_861, "hashtags": 667_227, "mean": 11.73, "least": 1, "most": 30},
    "harrison": {"labels": 997, "posts": 57_383, "hashtags": 260_000, "mean": 4.5, "least": 2, "most": 10},
    "nus_wide": {"labels": 1000, "posts": 245_603, "hashtags": 1_467_922, "mean": 5.98, "least": 1, "most": 131},
}

# Tables III, IV and V, by system and the image features of AMNN; amnn_image reads the image alone.
TABLE_3: dict[str, Scores] = {
    "neighbour_voting": (27.04, 18.50, 44.50),
    "vgg_object_scene": (30.02, 21.74, 52.52),
    "nic": (32.32, 12.90, 35.54),
    "amnn_image inception_v3": (32.96, 24.08, 59.75),
    "amnn_image resnet50": (32.36, 25.30, 60.90),
}
TABLE_4: dict[str, Scores] = {
    "neighbour_voting": (32.46, 20.05, 54.05),
    "vgg_object_scene": (29.27, 18.22, 55.91),
    "nic": (23.50, 13.42, 44.63),
    "amnn_image inception_v3": (31.00, 20.14, 59.55),
    "amnn_image resnet50": (29.67, 19.3, 58.44),
}
TABLE_5: dict[str, Scores] = {
    "mlknn": (1.02, 0.53, 3.43),
    "svm": (14.25, 0.11, 1.43),
    "neighbour_voting": (16.46, 4.87, 32.18),
    "multilabel_resnet": (24.83, 2.80, 29.86),
    "coattention": (22.55, 5.20, 3.75),
    "vgg_object_scene": (32.13, 12.02, 61.32),
    "nic": (27.42, 10.12, 36.02),
    "show_attend_tell": (30.57, 11.08, 53.90),
    "amnn_image inception_v3": (33.08, 11.88, 61.33),
    "amnn_image resnet50": (34.66, 13.01, 64.16),
    "amnn inception_v3": (34.37, 12.75, 62.66),
    "amnn resnet50": (35.70, 13.40, 65.49),
}
# No accuracy at 5 is below precision at 1, which is accuracy at 1.
ERRATA = {
    "coattention": "an accuracy of 3.75 is below the precision at 1; the text, by which AMNN gains about 28, has 37.5",
    "svm": "an accuracy of 1.43 is below the precision at 1, 14.25, which is probably 1.425",
}

# Table VI: the texts of MM-INS.
TABLE_6 = {"words": 684_396, "distinct": 47_169, "least": 1, "most": 248, "mean": 12.04}

# Table VII: text features from fixed word vectors, on MM-INS with ResNet-50.
TABLE_7: dict[str, Scores] = {
    "glove": (33.35, 11.80, 60.80),
    "word2vec": (33.86, 12.34, 61.50),
    "fasttext": (34.33, 11.86, 62.77),
}

# Tables VIII (Inception-V3) and IX (ResNet-50): AMNN learns each post's hashtags in a shuffled order.
SHUFFLED: dict[str, dict[str, Scores]] = {
    "inception_v3": {
        "harrison": (29.55, 20.69, 57.57), "nus_wide": (22.82, 13.41, 48.28), "mm_ins": (24.72, 6.38, 46.20),
    },
    "resnet50": {
        "harrison": (30.21, 22.39, 60.13), "nus_wide": (31.38, 19.31, 59.36), "mm_ins": (26.52, 9.04, 50.41),
    },
}  # fmt: skip

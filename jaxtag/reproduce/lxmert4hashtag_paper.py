"""What the lxmert4hashtag paper prints: the numbers of its tables, as data.

Hashtag recommendation by LXMERT, a cross-modal transformer, on InstaNY100K. SYSTEMS 3 says what the paper leaves open:
Table 3 is at 2, and the abstract's numbers are those at 5.
"""

TITLE = "LXMERT4Hashtag: hashtags by a cross-modal transformer"

# Table 2: what was collected, before any step; how many posts and hashtags are left after them it does not say.
TABLE_2 = {
    "posts_read": ("posts collected", 100_000),
    "images": ("images", 100_000),
    "hashtags_read": ("distinct hashtags", 164_243),
    "hashtags_per_post_read": ("hashtags a post", 15.9),
}
KEPT = {
    "posts": "posts with a hashtag that is kept",
    "hashtags": "hashtags that are kept, the paper's at most 500",
    "hashtags_per_post": "such hashtags a post",
    "train": "training posts, the paper's 8 of 10",
    "validation": "validation posts, 1 of 10",
    "test": "test posts, 1 of 10",
}

# Table 3: precision, recall and F1 of the first two.
METRICS = ("precision@2", "recall@2", "f1@2")
TABLE_3 = {
    "tweet_embedding": (0.272, 0.106, 0.152),
    "amnn": (0.327, 0.103, 0.156),
    "tab_lstm": (0.469, 0.177, 0.257),
    "lstm_cnn": (0.51, 0.192, 0.279),
    "coattention": (0.532, 0.202, 0.293),
    "lxmert": (0.599, 0.233, 0.335),
}

# The abstract's, which are Fig. 3's at 5; of the figure's other points no numbers are printed.
AT_5 = ("precision@5", "recall@5", "f1@5")
ABSTRACT = {"coattention": (0.4612, 0.3893, 0.4222), "lxmert": (0.505, 0.4402, 0.4704)}

IMAGES = {  # what each system reads of an image
    "tweet_embedding": "resnet152", "amnn": "resnet50", "lstm_cnn": "vgg16", "coattention": "vgg16",
    "lxmert": "regions",
}  # fmt: skip

"""What the zsl paper prints: the numbers of its tables, as data.

From fully supervised to zero-shot settings for Twitter hashtag recommendation. Percent, as printed; SYSTEMS 1 says what
the paper leaves open.
"""

TITLE = "From fully supervised to zero-shot settings for Twitter hashtag recommendation"

# Table 1: what was collected, and what was left of it. The key is ours, the text the paper's in substance.
TABLE_1 = {
    "posts_read": ("posts collected", 805_031),
    "posts": ("posts after cleaning", 321_385),
    "posts_with_hashtag": ("posts with a hashtag", 31_249),
    "posts_with_several": ("posts with more than one hashtag", 3_301),
    "hashtags": ("distinct hashtags", 956),
    "hashtags_with_200": ("hashtags with 200 posts or more", 50),
}

# Table 2: mean over 5 folds; accuracy, and precision, recall and F1, of which the paper does not say how they average:
# all three are the accuracy rounded, as micro averages of posts with one hashtag are.
TABLE_2 = {
    "ann": (40.7, 41, 41, 41),
    "cnn": (43.7, 44, 44, 44),
    "rnn": (46.9, 47, 47, 47),
    "rnn_attention": (47.0, 47, 47, 47),
    "transformer": (57.4, 57, 57, 57),
}

# Table 3: hit@1, hit@2, hit@5 by (seen, unseen), method, and whether a few posts of unseen hashtags train.
HITS = (1, 2, 5)
TABLE_3 = {
    (40, 10): {
        "conse": {"zero-shot": (49, 65, 88), "few-shot": (54, 66, 89)},
        "eszsl": {"zero-shot": (60, 73, 93), "few-shot": (64, 75, 93)},
        "dem": {"zero-shot": (62, 74, 96), "few-shot": (73, 83, 97)},
    },
    (30, 20): {
        "conse": {"zero-shot": (27, 36, 59), "few-shot": (43, 50, 67)},
        "eszsl": {"zero-shot": (35, 48, 71), "few-shot": (46, 56, 73)},
        "dem": {"zero-shot": (42, 54, 71), "few-shot": (61, 71, 84)},
    },
    (25, 25): {
        "conse": {"zero-shot": (24, 30, 45), "few-shot": (38, 47, 62)},
        "eszsl": {"zero-shot": (23, 35, 61), "few-shot": (40, 49, 66)},
        "dem": {"zero-shot": (29, 42, 59), "few-shot": (58, 69, 82)},
    },
}
SHOTS = (5, 10)  # posts of each unseen hashtag that train, few-shot: a random number from here to there
FOLDS = 5
VECTORS = 150  # numbers of a word vector; 300 "about equal", a pretrained file of news "clearly worse" (section 7.4)

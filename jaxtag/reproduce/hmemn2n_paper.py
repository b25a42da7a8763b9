"""What the hmemn2n paper prints: the numbers of its tables, as data.

Hashtag recommendation with end-to-end memory networks and hierarchical attention. SYSTEMS 4 says what the paper leaves
open.
"""

TITLE = "Hashtag recommendation with end-to-end memory networks and hierarchical attention"

# Table 1. It prints 288,545 posts; its text says 281,345, which is what the three parts add up to.
TABLE_1 = {
    "posts_read": ("posts collected, of 40,000 authors", 77_995_265),
    "posts": ("posts with a hashtag that is kept", 281_345),
    "authors": ("authors of those", 36_003),
    "hashtags": ("hashtags that are kept", 3_883),
    "hashtags_per_post": ("hashtags a post", 1.28),
    "train": ("training posts", 232_378),
    "validation": ("validation posts", 28_092),
    "test": ("test posts", 20_875),
}

# Table 2: precision, recall and F1 at 1.
METRICS = ("precision@1", "recall@1", "f1@1")
TABLE_2 = {
    "naive_bayes": (0.123, 0.098, 0.109),
    "naive_bayes_history": (0.198, 0.156, 0.175),
    "svm": (0.232, 0.181, 0.203),
    "svm_history": (0.312, 0.241, 0.272),
    "topical_translation": (0.234, 0.190, 0.210),
    "cnn_attention": (0.328, 0.255, 0.287),
    "memn2n": (0.501, 0.403, 0.446),
    "hmemn2n": (0.538, 0.436, 0.482),
}

# Table 3: the same by system, numbers of a word vector, and hops (0: it has none). The paper prints a system's name
# once a group, and (300, 1) might also be MemN2N's: hmemn2n's is the reading by which 2 hops are best, as it says.
TABLE_3 = {
    ("cnn_attention", 300, 0): (0.328, 0.255, 0.287),
    ("memn2n", 300, 2): (0.501, 0.403, 0.446),
    ("memn2n", 300, 3): (0.481, 0.385, 0.428),
    ("hmemn2n", 50, 2): (0.462, 0.370, 0.411),
    ("hmemn2n", 100, 2): (0.508, 0.410, 0.454),
    ("hmemn2n", 200, 2): (0.530, 0.430, 0.475),
    ("hmemn2n", 300, 2): (0.538, 0.436, 0.482),
    ("hmemn2n", 400, 2): (0.536, 0.437, 0.481),
    ("hmemn2n", 500, 2): (0.538, 0.437, 0.482),
    ("hmemn2n", 300, 1): (0.521, 0.421, 0.466),
    ("hmemn2n", 300, 3): (0.534, 0.433, 0.478),
    ("hmemn2n", 300, 4): (0.528, 0.428, 0.473),
    ("hmemn2n", 300, 5): (0.521, 0.421, 0.466),
}
USUAL = (300, 2)  # numbers of a word vector, and hops, of Table 2

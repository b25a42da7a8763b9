"""PyTorch's side of LXMERT: Hugging Face's `LxmertModel` and the same head; every post has an image.

BertAdam is not in PyTorch: its twin trains by fused AdamW, which differs by the correction of its averages and moves as
many numbers.
"""

from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.models.lxmert_weights import config_of
from jaxtag.systems import Sizes


def lxmert(s: Any, sizes: Sizes) -> Any:
    """The twin of `jaxtag.models.lxmert`.

    Raises:
      JaxtagError: transformers is not installed, or the settings are none of the twin's.
    """
    try:
        from transformers import LxmertConfig, LxmertModel
    except ImportError:
        raise JaxtagError("transformers is not installed", "pip install transformers, or 'jaxtag[parity]'") from None
    from torch import nn

    if s.head != "vqa" or s.modality != "both":
        raise JaxtagError("the PyTorch twin of lxmert has the head vqa and reads both", "take the recipe's own")
    said: dict[str, Any] = config_of(s, sizes.words) | {"visual_feat_dim": sizes.image["regions"][1]}
    config = LxmertConfig(**{k: v for k, v in said.items() if k not in ("architectures", "model_type", "torch_dtype")})

    class Lxmert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = LxmertModel(config)
            self.hidden, self.norm = nn.Linear(s.width, 2 * s.width), nn.LayerNorm(2 * s.width, 1e-12)
            self.activation, self.head = nn.GELU(), nn.Linear(2 * s.width, sizes.hashtags)

        def forward(self, tokens: Any, lengths: Any, form: str, regions: Any, boxes: Any) -> Any:
            found = self.encoder(tokens, regions, boxes, attention_mask=(tokens != 0).long())
            return self.head(self.norm(self.activation(self.hidden(found.pooled_output))))

    return Lxmert()


MAKERS = {"lxmert": lxmert}

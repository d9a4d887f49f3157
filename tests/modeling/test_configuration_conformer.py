"""ConformerConfig: sizes, validators, derived values."""

import pytest
import torch
from tiny_conformer import make_config

from antiphon.modeling import ConformerConfig, ConformerForCTC

BASE = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 9, "num_attention_heads": 6}


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(make_config(), 100_000), (ConformerConfig(), 3_000_000), (ConformerConfig(**BASE), 30_000_000)],
    ids=["tiny", "small", "base"],
)
def test_sizes_are_as_named(config, parameters):
    with torch.device("meta"):
        model = ConformerForCTC(config)
    assert model.num_parameters() == pytest.approx(parameters, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 60, "num_attention_heads": 8}, r"`hidden_size` is 60 .* multiple of 2 x .*\(16\)"),
        ({"conv_kernel_size": 14}, r"`conv_kernel_size` is 14 but must be odd; choose 15"),
        ({"subsampling_factor": 6}, r"`subsampling_factor` is 6 .* power of two"),
        ({"subsampling_factor": 1}, r"`subsampling_factor` is 1 "),
        ({"intermediate_ctc_layers": [2]}, r"layer 2 but must name layers from 1 to 1"),
        ({"intermediate_ctc_layers": [0]}, r"layer 0 but"),
        ({"frequency_mask_bins": 41}, r"`frequency_mask_bins` is 41 .*\(40\)"),
        ({"time_mask_ratio": 1.5}, r"`time_mask_ratio` is 1.5 .* between 0 and 1"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(Exception, match=message):
        make_config(**changes)


def test_a_wrong_type_is_refused():
    with pytest.raises(Exception, match="hidden_size"):
        make_config(hidden_size="wide")


def test_head_dim_follows_its_source_and_is_not_stored(tmp_path):
    config = make_config()
    assert config.head_dim == 12
    assert "head_dim" not in config.to_dict()
    config.save_pretrained(tmp_path)
    assert ConformerConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()

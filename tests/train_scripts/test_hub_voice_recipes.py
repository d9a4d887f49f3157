"""The recipes for VCTK and LibriTTS name what these have on the Hub, and nobody validates who is trained on."""

import pytest
from small_hub_voices import libritts_files, vctk_files, write_files

from antiphon.train_scripts.recipes import load_recipe
from antiphon.train_scripts.sources import load_sources
from antiphon.train_scripts.train_voice_converter import resolve

# Speakers of test, of the recipe's validation, and others.
FILES = {
    "voice_converter_vctk": vctk_files(["p225", "p229", "p232", "p361", "s5"]),
    "voice_converter_libritts": libritts_files(["669", "103", "99999"]),
}
SPEAKERS = {
    "voice_converter_vctk": {"train": ["vctk-p229", "vctk-p232"], "validation": ["vctk-p361", "vctk-s5"]},
    # The look-alike has the same readers in both splits; the corpus has not.
    "voice_converter_libritts": {"train": ["ls-103", "ls-99999"], "validation": ["ls-103", "ls-99999"]},
}
# Nothing is trained here; random parts stand in.
PARTS = ["run.content_encoder=null", "run.speaker_encoder=null", "run.vocoder=null"]
PARTS += ["model.content_config={}", "model.speaker_config={}", "model.vocoder_config={}"]


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_loads_its_sides(name, tmp_path):
    recipe = resolve(load_recipe(name, PARTS))
    folder = write_files(tmp_path / "data", FILES[name])
    for side, speakers in SPEAKERS[name].items():
        sources = recipe["data"][side]
        for source in sources:
            source["options"] |= {"repository": folder, "license": "CC-BY-4.0", "cache_dir": str(tmp_path / "cache")}
        assert load_sources(sources, f"data.{side}")["speaker_id"][:] == speakers

"""The recipe for Whisper small names what Common Voice has on the Hub, and nobody validates who is trained on."""

from small_hub_voices import common_voice_files, write_files

from antiphon.train_scripts.recipes import load_recipe
from antiphon.train_scripts.sources import load_sources
from antiphon.train_scripts.train_whisper import resolve


def test_the_recipe_loads_its_sides(tmp_path):
    folder = write_files(tmp_path / "data", common_voice_files(["de", "hi"]))
    recipe = resolve(load_recipe("whisper_small_common_voice"))
    for side in ("train", "validation"):
        (source,) = recipe["data"][side]
        assert source["name"] == "common_voice"
        source["options"] |= {"repository": folder, "cache_dir": str(tmp_path / "cache")}
        corpus = load_sources([source], f"data.{side}")
        assert corpus["speaker_id"][:] == [f"hi-{side}"]
        assert corpus["text"][:] == ["हाँ"]
        assert corpus["license"][:] == ["CC0-1.0"]
    assert recipe["model"]["language"] == "hi"
    assert recipe["data"]["resample"] is True

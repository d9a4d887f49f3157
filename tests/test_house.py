"""The house rules that code can check: who imports whom, names, registration, safety, and what the wheel holds."""

import ast
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("modeling", "processing", "train_scripts", "eval", "spaces", "tests")
SHIPPED = sorted(
    path for room in ("modeling", "processing") for path in (ROOT / room).glob("*.py") if path.name != "__init__.py"
)
EVERYTHING = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

STANDARD = set(sys.stdlib_module_names)
SHIPPED_MAY_IMPORT = {
    "modeling": {"torch", "numpy", "transformers", "huggingface_hub"},
    "processing": {"numpy", "torch", "transformers", "tokenizers", "soundfile", "soxr"},
}
MAY_ALSO_IMPORT = {
    "audio_midi.py": {"mido"},
    "voice_prompt.py": {"safetensors"},
    "modeling_exported.py": {"onnxruntime"},
}
# What a room may know of the others.
MAY_KNOW = {
    "modeling": {"processing"},  # its __init__.py alone, see SHIPPED for the rest
    "processing": {"processing"},
    "eval": {"eval", "processing", "modeling"},
    "train_scripts": {"train_scripts", "eval", "processing", "modeling"},
    "spaces": {"train_scripts", "eval", "processing", "modeling"},
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def absolute_imports(tree: ast.Module) -> set[str]:
    """Dotted names of everything imported absolutely; `from a import b` counts as `a.b`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def relative_imports(tree: ast.Module) -> list[ast.ImportFrom]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level > 0]


# ---------------------------------------------------------------- who imports whom


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_shipped_code_imports_only_what_a_checkpoint_may_need(path):
    allowed = STANDARD | SHIPPED_MAY_IMPORT[path.parent.name] | MAY_ALSO_IMPORT.get(path.name, set())
    tree = parse(path)
    assert {name.partition(".")[0] for name in absolute_imports(tree)} - allowed == set()
    for node in relative_imports(tree):
        # `save_pretrained` copies only siblings that are imported in this form.
        assert node.level == 1, f"line {node.lineno} leaves the folder"
        assert node.module, f"line {node.lineno} imports the package itself"
        assert "." not in node.module, f"line {node.lineno} enters a subfolder"
        assert (path.parent / f"{node.module}.py").is_file(), f"line {node.lineno} imports what is no sibling"


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_no_docstring_line_looks_like_a_sibling_import(path):
    # transformers finds sibling imports by this expression, in docstrings too.
    found = re.findall(r"^\s*from\s+\.(\S+)\s+import", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(found) == sorted(node.module for node in relative_imports(parse(path)))


@pytest.mark.parametrize("room", MAY_KNOW)
def test_rooms_know_only_the_rooms_below_them(room):
    for path in sorted((ROOT / room).rglob("*.py")):
        names = absolute_imports(parse(path))
        known = {name.split(".")[1] for name in names if name.startswith("antiphon.")}
        assert known <= MAY_KNOW[room], name_of(path)
        # The folders are installed below `antiphon`; `import eval` works by chance of the working directory alone.
        bare = {name.partition(".")[0] for name in names} & set(ROOMS)
        assert not bare, f"{name_of(path)} imports {bare}"


def test_the_modeling_package_alone_knows_processing():
    knowing = [path.name for path in (ROOT / "modeling").glob("*.py") if "antiphon.processing" in path.read_text()]
    assert knowing == ["__init__.py"]


def test_spaces_never_import_a_neighbour():
    for space in sorted(path for path in (ROOT / "spaces").iterdir() if path.is_dir()):
        own = {path.stem for path in space.rglob("*.py")} | {path.name for path in space.iterdir() if path.is_dir()}
        for path in space.rglob("*.py"):
            tree = parse(path)
            for name in {name.partition(".")[0] for name in absolute_imports(tree)} - own - STANDARD - {"antiphon"}:
                assert importlib.util.find_spec(name) is not None, f"{name_of(path)} imports {name}"
            for node in relative_imports(tree):
                assert len(path.relative_to(space).parts) > node.level, (
                    f"{name_of(path)}:{node.lineno} leaves its Space"
                )


# ---------------------------------------------------------------- names and registration


def test_base_names_are_unique_since_all_land_in_one_checkpoint_folder():
    names = [path.name for path in SHIPPED]
    assert sorted(names) == sorted(set(names))


def test_shipped_files_say_their_role_first():
    roles = {
        "modeling": r"((configuration|layers|losses|modeling)_\w+|voice_prompt)\.py",
        "processing": (
            r"((feature_extraction|tokenization|processing|audio|midi|descriptors|language|decoding)_\w+|percepts)\.py"
        ),
    }
    for path in SHIPPED:
        assert re.fullmatch(roles[path.parent.name], path.name), name_of(path)


def public_classes(base: type) -> list[type]:
    classes = []
    for path in SHIPPED:
        module = importlib.import_module(f"antiphon.{path.parent.name}.{path.stem}")
        for name, value in vars(module).items():
            is_own = isinstance(value, type) and value.__module__ == module.__name__
            if is_own and issubclass(value, base) and not name.startswith("_"):
                classes.append(value)
    return classes


def test_every_public_class_is_registered_and_ships_its_code():
    from transformers import (
        AutoConfig,
        AutoFeatureExtractor,
        AutoModel,
        AutoProcessor,
        AutoTokenizer,
        FeatureExtractionMixin,
        PreTrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
        ProcessorMixin,
    )

    import antiphon.modeling
    import antiphon.processing

    configs = public_classes(PreTrainedConfig)
    assert configs
    for config in configs:
        assert config._auto_class, f"{config.__name__}.register_for_auto_class() is missing"
        assert type(AutoConfig.for_model(config.model_type)) is config
    models = [model for model in public_classes(PreTrainedModel) if not model.__name__.endswith("PreTrainedModel")]
    assert {model.config_class for model in models} == set(configs)
    for model in models:
        assert model._auto_class, f"{model.__name__}.register_for_auto_class() is missing"
        assert model.__name__ in antiphon.modeling.__all__
        mapping = getattr(importlib.import_module("transformers"), model._auto_class)._model_mapping
        assert mapping[model.config_class] is model, f"{model.__name__} is not registered with {model._auto_class}"
    assert all(config in AutoModel._model_mapping for config in configs)
    for base, auto in (
        (FeatureExtractionMixin, AutoFeatureExtractor),
        (PreTrainedTokenizerBase, AutoTokenizer),
        (ProcessorMixin, AutoProcessor),
    ):
        for part in public_classes(base):
            assert part._auto_class == auto.__name__, f"{part.__name__}.register_for_auto_class() is missing"
            assert part.__name__ in antiphon.processing.__all__


# ---------------------------------------------------------------- safety


def unsafe_calls(tree: ast.Module):
    """Yields (line, reason) for calls that run what a file or a string says."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        constants = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
        if name == "torch.load" and constants.get("weights_only") is not True:
            yield node.lineno, "torch.load without weights_only=True"
        if name in ("eval", "exec", "os.system", "os.popen", "yaml.unsafe_load", "subprocess.getoutput"):
            yield node.lineno, name
        if constants.get("shell") is True:
            yield node.lineno, "shell=True"
        if constants.get("allow_pickle") is True:
            yield node.lineno, "allow_pickle=True"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("torch.load(path)", "torch.load without"),
        ("torch.load(path, weights_only=False)", "torch.load without"),
        ("subprocess.run(line, shell=True)", "shell=True"),
        ("eval(text)", "eval"),
        ("numpy.load(path, allow_pickle=True)", "allow_pickle"),
    ],
)
def test_unsafe_calls_are_seen(code, reason):
    [(line, found)] = unsafe_calls(ast.parse(code))
    assert line == 1
    assert reason in found


def test_nothing_runs_what_a_file_or_a_string_says():
    found = []
    for path in EVERYTHING:
        tree = parse(path)
        found += [f"{name_of(path)}:{line} {reason}" for line, reason in unsafe_calls(tree)]
        modules = {name.partition(".")[0] for name in absolute_imports(tree)}
        found += [f"{name_of(path)} imports {name}" for name in modules & {"pickle", "dill", "cloudpickle", "joblib"}]
    assert found == []


# ---------------------------------------------------------------- the wheel

DATA_PATTERNS = {
    "processing": ["corpora/*.yaml", "corpora/split_lists/*.csv"],
    "train_scripts": ["recipes/*.yaml", "recipes/studies/*", "accelerate/*.yaml"],
    "eval": ["metrics/*/*.py", "metrics/*/README.md", "report_templates/*", "peers/*.yaml"],
}

USE_WHEEL = """
import sys
# The editable install is out of reach, whichever of its two hooks would answer.
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.path_hooks[:] = [hook for hook in sys.path_hooks if "__editable__" not in getattr(hook, "__module__", "")]
sys.path_importer_cache.clear()
sys.path[:] = [{wheel!r}] + [entry for entry in sys.path if "__editable__" not in entry]

import importlib.resources
import antiphon.eval.metric_loading, antiphon.modeling, antiphon.processing.corpora, antiphon.train_scripts

for module in (antiphon.eval, antiphon.modeling, antiphon.processing.corpora, antiphon.train_scripts):
    assert module.__file__.startswith({wheel!r}), module.__file__

import yaml
for package, pattern in (("antiphon.processing.corpora", "voices.yaml"), ("antiphon.train_scripts", "recipes")):
    assert importlib.resources.files(package).joinpath(pattern).exists(), pattern
assert yaml.safe_load(importlib.resources.files("antiphon.processing.corpora").joinpath("voices.yaml").read_text())

metric = antiphon.eval.metric_loading.load_metric("error_rates")
print(metric.compute(predictions=["one two"], references=["one three"])["wer"])
model = antiphon.modeling.ConformerForCTC(antiphon.modeling.ConformerConfig(num_hidden_layers=1))
print(model.num_parameters())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that the working tree stays clean."""
    for name in ("build", "setuptools"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"building a wheel without a network needs {name}")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-4000:] or result.stdout[-4000:]
    [path] = target.glob("*.whl")
    return path


def test_wheel_holds_the_package_with_its_data_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    assert {Path(file).parts[0].partition("-")[0] for file in files} == {"antiphon"}
    assert {Path(file).parts[1] for file in files if file.startswith("antiphon/")} == set(MAY_KNOW) - {"spaces"}
    for room, patterns in DATA_PATTERNS.items():
        for pattern in patterns:
            expected = {f"antiphon/{name_of(path)}" for path in (ROOT / room).glob(pattern)}
            assert expected, pattern
            assert expected <= files
    code = {path for room in MAY_KNOW if room != "spaces" for path in (ROOT / room).rglob("*.py")}
    assert {f"antiphon/{name_of(path)}" for path in code} <= files


def test_wheel_works_without_the_working_tree(wheel, tmp_path):
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    outside = tmp_path / "outside"
    outside.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", USE_WHEEL.format(wheel=str(unpacked))],
        cwd=outside,
        env={"PATH": "", "HF_HOME": str(tmp_path / "hf_home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    wer, parameters = result.stdout.split()[-2:]
    assert "0.5" in wer
    assert int(parameters) > 500_000

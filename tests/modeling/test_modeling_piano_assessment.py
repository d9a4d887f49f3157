"""The piano assessment model as a whole: padding, missing inputs, gradients, learning, members, trees, intervals."""

import pytest
import torch
from tiny_piano import LENGTHS, NO_REGULARISATION, make_batch, make_config, make_labels, make_model

from antiphon.modeling import PianoAssessmentModel
from antiphon.modeling.losses_percepts import pearson_loss, ranking_loss, regression_loss
from antiphon.modeling.modeling_piano_assessment import INPUT_SETS, LOSSES

FUSIONS = ("concatenation", "gating", "attention")
RESIDUALS = ("none", "score", "passage")
NAN = float("nan")


def item_of(batch, item, length):
    """An item of a batch alone, without its padding."""
    return {
        name: tensor[item : item + 1, :length] if "features" in name or "mask" in name else tensor[item : item + 1]
        for name, tensor in batch.items()
    }


def rows_of(outputs, item):
    return {name: tensor[item : item + 1] for name, tensor in outputs.items()}


def nearly_equal(first, second):
    for name in ("percepts", "stds", "member_percepts", "member_stds"):
        torch.testing.assert_close(first[name], second[name], atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- shapes, padding, missing inputs


@pytest.mark.parametrize("regression", ["mse", "gaussian"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_shapes_with_lengths_that_no_patch_divides(fusion, regression):
    outputs = make_model(fusion=fusion, regression=regression)(**make_batch())
    assert outputs.percepts.shape == outputs.stds.shape == outputs.low.shape == outputs.high.shape == (3, 3)
    assert outputs.member_percepts.shape == outputs.member_stds.shape == (3, 4, 3)
    torch.testing.assert_close(outputs.percepts, outputs.member_percepts.mean(1))
    variance = outputs.member_stds.square().mean(1) + outputs.member_percepts.var(1, correction=0)
    torch.testing.assert_close(outputs.stds, variance.sqrt())
    assert outputs.loss is None


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("training", [False, True])
def test_a_padded_item_equals_the_lone_item(fusion, residual, training):
    model = make_model(fusion=fusion, residual=residual, **NO_REGULARISATION).train(training)
    batch = make_batch() | {"passage_percepts": make_labels()}
    together = model(**batch)
    for item, length in enumerate(LENGTHS):
        alone = model(**item_of(batch, item, length))
        nearly_equal(rows_of(together, item), alone)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_item_that_lacks_inputs_equals_the_item_to_which_they_were_not_given(fusion):
    model, batch = make_model(fusion=fusion), make_batch()
    batch["attention_mask"][0] = 0  # no recording of the first item, no MIDI of the second
    batch["roll_attention_mask"][1] = 0
    batch["descriptors"][0, :2] = NAN
    batch["descriptors"][1, 2:] = NAN
    together = model(**batch)
    for item, inputs in ((0, ("midi", "score")), (1, ("audio",))):
        alone = model(**model.select_inputs(item_of(make_batch(), item, LENGTHS[item]), inputs))
        nearly_equal(rows_of(together, item), alone)
    assert together.percepts.isfinite().all()


def test_selected_inputs_are_all_that_counts():
    model, batch = make_model(), make_batch()
    heard = model.select_inputs(batch, ("audio",))
    assert "roll_features" not in heard
    assert "roll_attention_mask" not in heard
    assert heard["descriptors"].isnan().tolist() == [[False] * 2 + [True] * 8] * 3
    assert not batch["descriptors"].isnan().any(), "the batch itself was changed"
    embeddings = {f"{name}_embeddings": torch.randn(3, 32) for name in ("audio", "roll")}
    selected = model.select_inputs(embeddings, ("midi",))
    assert selected["audio_embeddings"].isnan().all()
    torch.testing.assert_close(selected["roll_embeddings"], embeddings["roll_embeddings"])
    everything = model.select_inputs(batch | {"passage_percepts": make_labels()}, ("audio", "midi", "score"))
    assert everything.keys() == batch.keys()
    for name, tensor in everything.items():
        torch.testing.assert_close(tensor, batch[name])


@pytest.mark.parametrize("inputs", INPUT_SETS, ids="+".join)
def test_every_set_of_inputs_can_be_judged_and_makes_a_difference(inputs):
    model, batch = make_model(fusion="gating"), make_batch()
    outputs = model(**model.select_inputs(batch, inputs))
    assert outputs.percepts.isfinite().all()
    complete = {"audio", "midi", "score"} <= set(inputs)
    assert torch.allclose(outputs.percepts, model(**batch).percepts) == complete


def test_embeddings_may_take_the_place_of_lattices():
    model, batch = make_model(), make_batch()
    kept = {
        f"{name}_embeddings": model.encode_lattice(name, batch[features], batch[mask])
        for name, features, mask in (
            ("audio", "input_features", "attention_mask"),
            ("roll", "roll_features", "roll_attention_mask"),
        )
    }
    nearly_equal(model(descriptors=batch["descriptors"], **kept), model(**batch))


@pytest.mark.parametrize(
    ("changes", "inputs"),
    [
        ({}, {}),
        ({}, {"descriptors": torch.full((1, 10), NAN)}),
        ({"used_groups": ["audio"], "use_roll": False}, {"roll_features": torch.zeros(1, 20, 72)}),
        ({"use_audio": False, "use_roll": False, "descriptor_names": None}, {"descriptors": torch.zeros(1, 0)}),
    ],
    ids=["nothing", "all missing", "what it does not read", "a model that reads nothing"],
)
def test_an_item_without_any_input_is_refused(changes, inputs):
    with pytest.raises(ValueError, match="an item has no input that this model reads: give `input_features`"):
        make_model(**changes)(**inputs)


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("residual", RESIDUALS)
def test_every_parameter_gets_a_gradient(fusion, residual):
    losses = {"pearson_weight": 0.5, "ranking_weight": 0.5, "learn_loss_weights": True}
    model = make_model(fusion=fusion, residual=residual, head_dropout=0.0, **losses)
    batch = make_batch() | {"passage_percepts": make_labels(seed=2), "passages": torch.tensor([0, 0, 1])}
    model.train()(**batch, labels=make_labels()).loss.backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    # Attention over the score alone has nothing to choose from.
    assert [name for name in without if not name.startswith("score_heads.score.")] == []


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("residual", RESIDUALS)
def test_one_batch_is_learnt_by_heart(fusion, residual):
    torch.manual_seed(0)
    model = PianoAssessmentModel(make_config(fusion=fusion, residual=residual, **NO_REGULARISATION)).train()
    batch, labels = make_batch(), make_labels()
    batch["passage_percepts"] = make_labels(seed=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.eval()(**batch).percepts - labels).abs().max() < 0.2


def test_members_learn_apart():
    """What one member learns from changes no other: neither its loss nor its gradient."""
    model = make_model(**NO_REGULARISATION, use_audio=False, use_roll=False)
    weights = torch.zeros(3, 4)
    weights[:, 2] = 1.0
    model(descriptors=make_batch()["descriptors"], labels=make_labels(), member_weights=weights).loss.backward()
    for name, parameter in model.heads.named_parameters():
        assert parameter.grad[2].any() or "score" in name, name
        assert not parameter.grad[[0, 1, 3]].any(), name


def test_items_that_a_member_does_without_do_not_reach_it():
    weights = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]])
    gradients = []
    for changed in (0.0, 5.0):
        model = make_model(**NO_REGULARISATION, use_audio=False, use_roll=False, pearson_weight=1.0)
        labels = make_labels()
        labels[1] += changed  # only the first member does without item 1
        model(descriptors=make_batch()["descriptors"], labels=labels, member_weights=weights).loss.backward()
        gradients.append(model.heads.output.weight.grad)
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert not torch.allclose(gradients[0][1], gradients[1][1])


def test_losses_are_those_of_the_configuration():
    batch, labels, passages = make_batch(), make_labels(), torch.tensor([0, 0, 1])
    model = make_model(pearson_weight=0.3, ranking_weight=0.7, regression="mse", **NO_REGULARISATION)
    model.fit_statistics(make_labels(9), torch.randn(9, 10), {})
    values = ((model(**batch).member_percepts - model.label_means) / model.label_stds).transpose(0, 1)
    targets, weights = (labels - model.label_means) / model.label_stds, torch.ones(4, 3)
    parts = (
        regression_loss(values, None, targets, weights),
        0.3 * pearson_loss(values, targets, weights),
        0.7 * ranking_loss(values, targets, passages, weights),
    )
    torch.testing.assert_close(model(**batch, labels=labels, passages=passages).loss, sum(parts))
    without_passages = model(**batch, labels=labels).loss
    torch.testing.assert_close(without_passages, parts[0] + parts[1])
    learned = make_model(
        pearson_weight=0.3, ranking_weight=0.7, regression="mse", learn_loss_weights=True, **NO_REGULARISATION
    )
    learned.load_state_dict(model.state_dict())
    logs = torch.tensor([0.1, -0.2, 0.3])
    learned.loss_log_weights.data.copy_(logs)
    assert LOSSES == ("regression", "pearson", "ranking")
    expected = sum(part * (-log).exp() + log for part, log in zip(parts, logs))
    torch.testing.assert_close(learned(**batch, labels=labels, passages=passages).loss, expected)


def test_training_follows_the_seed():
    model, batch = make_model(group_dropout=0.3).train(), make_batch()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(model(**batch, labels=make_labels()).loss.item())
    assert losses[0] == losses[1] != losses[2]


def test_hidden_sources_never_leave_an_item_without_any():
    heads = make_model(group_dropout=0.9).heads.train()
    present = {"first": torch.ones(200, dtype=torch.bool), "second": torch.arange(200) < 100}
    kept = heads._drop_sources(present)
    together = kept["first"] | kept["second"]
    assert together.all()
    assert not kept["second"][100:].any(), "what is missing came back"
    assert 0 < (~kept["first"][:100]).sum() < 100


def test_frozen_lattices_stay_as_they_are():
    model = make_model(freeze_lattices=True).train()
    model(**make_batch(), labels=make_labels()).loss.backward()
    assert all(parameter.grad is None for parameter in model.lattices.parameters())
    assert model.heads.output.weight.grad.any()


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        model = make_model().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert all(layer.gradient_checkpointing for lattice in model.lattices.values() for layer in lattice.layers)
        torch.manual_seed(1)
        model(**make_batch(), labels=make_labels()).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.requires_grad])
    for plain, checkpointed in zip(*gradients):
        torch.testing.assert_close(checkpointed, plain)


# ---------------------------------------------------------------- attention


def test_eager_equals_sdpa_and_returns_weights():
    model, batch = make_model(), make_batch()
    model.set_attn_implementation("sdpa")
    expected = model(**batch)
    model.set_attn_implementation("eager")
    outputs = model(**batch, output_attentions=True, output_hidden_states=True)
    nearly_equal(outputs, expected)
    # two layers of the spectrogram, then two of the roll; five times two patches
    assert [tuple(weights.shape) for weights in outputs.attentions] == [(3, 2, 10, 10)] * 4
    assert len(outputs.hidden_states) >= 4
    for weights in outputs.attentions:
        torch.testing.assert_close(weights.sum(-1)[0], torch.ones(2, 10))
        assert not weights[2, :, :, 2:].any()  # the last item has one patch in time: nobody listens to padding


# ---------------------------------------------------------------- residuals


def test_the_mean_of_a_passage_is_what_heads_correct():
    torch.manual_seed(0)
    model = PianoAssessmentModel(make_config(residual="passage")).eval()  # heads begin at zero
    model.fit_statistics(make_labels(9), torch.randn(9, 10), {})
    known = make_labels(seed=2)
    known[1, 0] = NAN
    percepts = model(**make_batch(), passage_percepts=known).percepts
    expected = known.where(~known.isnan(), model.label_means)
    torch.testing.assert_close(percepts, expected)
    torch.testing.assert_close(model(**make_batch()).percepts, model.label_means.expand(3, 3))


def test_a_mean_is_read_from_the_score_where_there_is_one():
    model, batch = make_model(residual="score"), make_batch()
    heads_alone = make_model(residual="none")
    heads_alone.load_state_dict(model.state_dict(), strict=False)
    place = model.config.descriptor_groups["score"]
    difference = model(**batch).member_percepts - heads_alone(**batch).member_percepts
    embedded = model.embedding(batch["descriptors"])[:, place].flatten(1)
    base, _ = model.score_heads({"score": embedded}, {"score": torch.ones(3, dtype=torch.bool)})
    torch.testing.assert_close(difference, base.transpose(0, 1), atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- trees


@pytest.fixture
def with_trees():
    """A model whose trees answer 1, 2 (by member), and whose passage trees answer 0."""
    model = make_model(num_tree_members=2, num_trees=1, tree_depth=1)
    with torch.no_grad():
        for member in range(2):
            model.trees.leaves[member] = 1.0 + member
    return model


def test_trees_wait_for_their_weights(with_trees):
    plain = make_model()
    plain.load_state_dict(with_trees.state_dict(), strict=False)
    nearly_equal(with_trees(**make_batch()), plain(**make_batch()))


def test_heads_and_trees_are_weighed(with_trees):
    batch = make_batch()
    heads = with_trees(**batch).member_percepts
    with_trees.stack_weights[0] = torch.tensor([0.5, 2.0, 0.0])
    stacked = with_trees(**batch).member_percepts
    trees = torch.tensor([1.0, 2.0, 1.0, 2.0])[None, :, None]  # head k is paired with tree k modulo 2
    torch.testing.assert_close(stacked, 0.5 * heads + 2.0 * trees)


def test_trees_say_nothing_where_a_descriptor_is_missing_or_in_training(with_trees):
    batch = make_batch()
    batch["descriptors"][1, 4] = NAN
    heads = with_trees(**batch).member_percepts
    with_trees.stack_weights[0] = torch.tensor([0.5, 2.0, 0.0])
    stacked = with_trees(**batch).member_percepts
    torch.testing.assert_close(stacked[1], heads[1])
    assert not torch.allclose(stacked[0], heads[0])
    loss = with_trees(**batch, labels=make_labels()).loss
    plain = make_model()
    plain.load_state_dict(with_trees.state_dict(), strict=False)
    torch.testing.assert_close(loss, plain(**batch, labels=make_labels()).loss)


def test_a_known_passage_is_weighed_in_and_an_unknown_one_is_not(with_trees):
    batch = make_batch() | {"passage_percepts": make_labels(seed=2), "passage_descriptors": torch.zeros(3, 10)}
    batch["passage_percepts"][2] = NAN
    heads = with_trees(**batch).member_percepts
    with_trees.stack_weights.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.0, 0.5]]))
    stacked = with_trees(**batch).member_percepts
    torch.testing.assert_close(stacked[2], heads[2])
    expected = 0.25 * heads[:2] + 0.5 * batch["passage_percepts"][:2, None]
    torch.testing.assert_close(stacked[:2], expected)


# ---------------------------------------------------------------- statistics and intervals


def test_statistics_are_those_of_training():
    model, labels, descriptors = make_model(), make_labels(20), torch.randn(20, 10)
    embeddings = torch.randn(20, 32)
    embeddings[3] = NAN  # an item without a recording
    model.fit_statistics(labels, descriptors, {"audio": embeddings, "roll": torch.full((20, 32), NAN)})
    torch.testing.assert_close(model.label_means, labels.mean(0))
    torch.testing.assert_close(model.label_stds, labels.std(0))
    known = embeddings[torch.arange(20) != 3]
    torch.testing.assert_close(model.audio_means, known.mean(0))
    torch.testing.assert_close(model.audio_stds, known.std(0))
    assert not model.roll_means.isnan().any(), "what no item has must not break what it is scaled by"
    torch.testing.assert_close(model.embedding.edges[:, 0], descriptors.amin(0))


@pytest.mark.parametrize("inputs", [inputs for inputs in INPUT_SETS if "passage" not in inputs], ids="+".join)
def test_intervals_are_those_of_the_inputs_that_were_given(inputs):
    model, batch = make_model(), make_batch()
    scales = torch.tensor([1.0, 2.0, 3.0])
    model.set_intervals(inputs, scales)
    for given in INPUT_SETS:
        if "passage" in given:
            continue
        outputs = model(**model.select_inputs(batch, given))
        if given == inputs:
            torch.testing.assert_close(outputs.low, outputs.percepts - scales * outputs.stds)
            torch.testing.assert_close(outputs.high, outputs.percepts + scales * outputs.stds)
        else:
            assert outputs.low.isnan().all()
            assert outputs.high.isnan().all()


def test_each_item_of_a_batch_has_the_intervals_of_its_own_inputs():
    model, batch = make_model(), make_batch()
    model.set_intervals(("audio", "midi", "score"), torch.ones(3))
    model.set_intervals(("audio",), torch.full((3,), 2.0))
    batch["roll_attention_mask"][1] = 0
    batch["descriptors"][1, 2:] = NAN
    outputs = model(**batch)
    reach = (outputs.high - outputs.low) / 2 / outputs.stds
    torch.testing.assert_close(reach, torch.tensor([[1.0] * 3, [2.0] * 3, [1.0] * 3]))


def test_a_known_passage_has_intervals_of_its_own():
    model = make_model(residual="passage")
    model.set_intervals(("audio", "midi", "score", "passage"), torch.ones(3))
    known = make_labels()
    known[1] = NAN
    outputs = model(**make_batch(), passage_percepts=known)
    assert outputs.low.isnan().any(1).tolist() == [False, True, False]


def test_without_learned_variances_the_labels_deviation_stands_for_them():
    model = make_model(regression="mse")
    model.fit_statistics(make_labels(20), torch.randn(20, 10), {})
    outputs = model(**make_batch())
    torch.testing.assert_close(outputs.member_stds, model.label_stds.expand(3, 4, 3))


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 30}, r"`hidden_size` is 30 but must be a multiple of 4 x `num_attention_heads` \(8\)"),
        ({"num_pitch_bins": 30}, "`num_pitch_bins` is 30 but must be a multiple of 12"),
        ({"num_tree_members": 3}, r"`num_members` is 4 but must be a multiple of `num_tree_members` \(3\)"),
        ({"fusion": "sum"}, "`fusion` is 'sum' but must be one of concatenation, gating, attention"),
        ({"residual": "player"}, "`residual` is 'player' but must be one of none, score, passage"),
        ({"regression": "mae"}, "`regression` is 'mae' but must be one of mse, gaussian"),
    ],
)
def test_configurations_that_cannot_work_are_refused(changes, message):
    with pytest.raises(Exception, match=message):
        make_config(**changes)


def test_derived_values_follow_the_configuration():
    config = make_config(used_groups=["score", "audio"])
    assert config.descriptor_groups == {"audio": [0, 1], "score": [6, 7]}
    assert (config.num_percepts, config.head_dim) == (3, 8)
    assert set(make_model(used_groups=["score"], use_roll=False).heads.project) == {"audio_lattice", "score"}

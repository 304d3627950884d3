"""The hard cases of hooks, each by itself."""

import copy

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

import sparsescape as ss


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


X = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))


def loss_of(model, x=X):
    return model(x).square().mean()


def rigl(**settings):
    return ss.RigL(0.5, **{"update_every": 2, "distribution": "uniform", **settings})


def sgd(model, **settings):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, "momentum": 0.9, **settings})


@pytest.mark.parametrize("by_name", [False, True])
def test_a_closure_gives_the_same_as_a_plain_step(by_name):
    def run(step):
        model = make_model()
        optimizer = sgd(model)
        sparsifier = rigl().attach(model, optimizer)
        for _ in range(5):
            step(model, optimizer)
        return model, sparsifier

    def plain(model, optimizer):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()

    def with_closure(model, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            return loss

        loss = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
        assert loss.item() > 0

    (one, one_sparsifier), (two, two_sparsifier) = run(plain), run(with_closure)
    assert one_sparsifier.mask == two_sparsifier.mask
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("set_to_none", [False, True])
def test_a_step_that_the_grad_scaler_skips_does_not_count(fused, set_to_none):
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    sparsifier = rigl().attach(model, optimizer)
    clean = make_model()
    clean_optimizer = torch.optim.Adam(clean.parameters(), lr=0.01, fused=fused)
    clean_sparsifier = rigl().attach(clean, clean_optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1000)
    for step in range(6):
        bad = step in (1, 4)  # the first of them would be an update of the mask
        optimizer.zero_grad(set_to_none=set_to_none)
        loss = loss_of(model) * (float("inf") if bad else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if not bad:
            clean_optimizer.zero_grad(set_to_none=set_to_none)
            loss_of(clean).backward()
            clean_optimizer.step()
        assert sparsifier.step == clean_sparsifier.step
        assert sparsifier.mask == clean_sparsifier.mask
    for p, q in zip(model.parameters(), clean.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_muon_is_held():
    model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.Linear(8, 4, bias=False))
    optimizer = torch.optim.Muon(model.parameters(), lr=0.1)
    sparsifier = rigl().attach(model, optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        sparsifier.mask.check_contains(model)
        for name, active in sparsifier.mask.items():
            assert (
                not optimizer.state[model.get_parameter(name)]["momentum_buffer"][~active].any()
                if sparsifier.step > 2
                else True
            )


@pytest.mark.parametrize("method", [ss.SET, ss.MEST])
def test_what_grows_is_0_and_fresh_though_the_optimizer_moved_it_in_that_step(method):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.Linear(8, 4, bias=False))
    optimizer = torch.optim.Muon(model.parameters(), lr=0.1)
    sparsifier = method(0.5, update_every=3, drop_fraction=0.5).attach(model, optimizer)
    for _ in range(3):
        before = sparsifier.mask
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    grown = {name: active & ~before[name] for name, active in sparsifier.mask.items()}
    assert sum(int(new.sum()) for new in grown.values()) > 0
    for name, new in grown.items():
        weight = model.get_parameter(name)
        assert not weight[new].any()
        assert not optimizer.state[weight]["momentum_buffer"][new].any()


def test_two_optimizers_share_a_model():
    def run(split):
        model = make_model()
        optimizers = [sgd(model[0]), sgd(model[2])] if split else [sgd(model)]
        sparsifier = rigl().attach(model, *optimizers)
        for _ in range(5):
            model.zero_grad()
            loss_of(model).backward()
            for optimizer in optimizers:
                optimizer.step()
            sparsifier.mask.check_contains(model)
        return model, sparsifier

    (one, one_sparsifier), (two, two_sparsifier) = run(False), run(True)
    assert one_sparsifier.step == two_sparsifier.step == 5
    assert one_sparsifier.mask == two_sparsifier.mask
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)


def test_of_two_optimizers_one_may_skip_a_step():
    """As a GradScaler has it; each of them still gives up one step for an update of the mask."""
    model = make_model()
    optimizers = sgd(model[0]), sgd(model[2])
    sparsifier = rigl(drop_fraction=0.5).attach(model, *optimizers)
    still, moved = [0, 0], 0
    for t in range(13):
        mask = sparsifier.mask
        model.zero_grad()
        loss_of(model).backward()
        for index, optimizer in enumerate(optimizers):
            if (t, index) == (1, 0):
                continue
            before = model[2 * index].bias.clone()
            optimizer.step()
            still[index] += torch.equal(before, model[2 * index].bias)
        moved += sparsifier.mask != mask
    assert sparsifier.step == 12
    assert still == [moved, moved]


@pytest.mark.parametrize("slow", [0, 1])
def test_an_update_waits_for_every_optimizer_whose_gradients_a_scaler_has_yet_to_unscale(slow):
    def counts(scaled):
        model = make_model()
        optimizers = sgd(model[0], momentum=0.0), sgd(model[2], momentum=0.0)
        escape = ss.Escape(sparsity=0.5, open=6, hold_for=2, at=2, layers="free")
        escape.attach(model, *optimizers)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        found = []
        for t in range(8):
            model.zero_grad()
            scaler.scale(loss_of(model)).backward()
            for index, optimizer in enumerate(optimizers):
                if index != slow or t % 2:
                    scaler.step(optimizer)
            scaler.update()
            found.append(escape.mask.counts)
        return found

    plain = counts(scaled=False)
    assert plain == counts(scaled=True)
    assert len({str(found) for found in plain}) > 1


@pytest.mark.parametrize("order", [1, -1])
def test_the_layer_of_an_optimizer_that_is_ahead_grows_by_its_gradient(order):
    model = make_model()
    optimizers = [sgd(model[0]), sgd(model[2])][::order]
    sparsifier = rigl(drop_fraction=0.5).attach(model, *optimizers)
    for t in range(20):
        before = sparsifier.mask
        model.zero_grad()
        loss_of(model).backward()
        weights = {name: model.get_parameter(name) for name in before}
        slopes = torch.autograd.grad(loss_of(model), list(weights.values()))
        dense = dict(zip(weights, slopes, strict=True))
        for optimizer in optimizers[t == 1 :]:
            optimizer.step()
        for name, active in sparsifier.mask.items():
            grown, closed = active & ~before[name], ~active & ~before[name]
            if grown.any():
                assert dense[name][grown].abs().min() >= dense[name][closed].abs().max()


def test_a_gradient_that_was_not_asked_for_is_refused():
    class Greedy(ss.DropGrow):
        def grow_score(self, name):
            return self.gradient(name).abs()

    model = make_model()
    optimizer = sgd(model)
    Greedy(0.5, update_every=2).attach(model, optimizer)
    loss_of(model).backward()
    optimizer.step()
    with pytest.raises(ss.InputError, match=r"Greedy asks for the gradient .* wants_gradient"):
        optimizer.step()


def test_clipping_sees_the_norm_inside_the_mask_also_in_an_update_step():
    model = make_model()
    optimizer = sgd(model)
    sparsifier = rigl().attach(model, optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        loss_of(model).backward()
        active = sparsifier.mask
        inside = [
            p.grad * active[n] if n in active else p.grad for n, p in model.named_parameters()
        ]
        expected = torch.stack([g.norm() for g in inside]).norm()
        assert nn.utils.clip_grad_norm_(model.parameters(), 0.01) == pytest.approx(expected.item())
        optimizer.step()


@pytest.mark.parametrize("set_to_none", [False, True])
def test_rigl_sees_the_sum_over_accumulated_batches(set_to_none):
    def run(parts):
        model = make_model()
        optimizer = sgd(model)
        sparsifier = rigl(drop_fraction=0.5).attach(model, optimizer)
        for _ in range(6):
            optimizer.zero_grad(set_to_none=set_to_none)
            for part in X.chunk(parts):
                (loss_of(model, part) / parts).backward()
            optimizer.step()
        return sparsifier.mask

    start = rigl().attach(model := make_model(), sgd(model)).mask
    assert run(4) == run(1) != start


def test_nothing_dense_is_kept_between_updates():
    model = make_model()
    optimizer = sgd(model)
    sparsifier = rigl(update_every=3).attach(model, optimizer)
    for step in range(1, 7):
        optimizer.zero_grad()
        loss_of(model).backward()
        assert bool(sparsifier._backward._dense._kept) == (step % 3 == 0)
        optimizer.step()
        assert not sparsifier._backward._dense._kept


def test_an_ema_copy_lives_on_while_the_mask_moves():
    model = make_model()
    optimizer = sgd(model)
    sparsifier = rigl().attach(model, optimizer)
    ema = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5)
    )
    for _ in range(5):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        ema.update_parameters(model)
    assert list(ema.module.state_dict()) == list(model.state_dict())
    assert loss_of(ema).isfinite()
    sparsifier.mask.check_contains(model)


def test_names_are_plain_under_compile():
    model = torch.compile(make_model(), backend="eager")
    sparsifier = rigl().attach(model, sgd(model))
    assert list(sparsifier.mask) == ["0.weight", "2.weight"]


def test_a_compiled_step_is_not_compiled_again_as_steps_are_counted():
    torch._dynamo.reset()
    counter = CompileCounter()
    model = make_model()
    optimizer = sgd(model)
    sparsifier = ss.SET(0.5, update_every=3).attach(model, optimizer)
    step = torch.compile(optimizer.step, backend=counter)
    frames = []
    for _ in range(9):
        optimizer.zero_grad()
        loss_of(model).backward()
        step()
        frames.append(counter.frame_count)
        sparsifier.mask.check_contains(model)
    assert sparsifier.step == 9
    assert frames[1:] == [frames[1]] * 8
    torch._dynamo.reset()


def test_tied_weights_have_one_mask():
    model = nn.ModuleDict({"inside": nn.Embedding(10, 6), "outside": nn.Linear(6, 10)})
    model["outside"].weight = model["inside"].weight
    optimizer = sgd(model)
    sparsifier = rigl().attach(model, optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        model["outside"](model["inside"](torch.arange(10))).square().mean().backward()
        optimizer.step()
    assert list(sparsifier.mask) == ["inside.weight"]
    sparsifier.mask.check_contains(model)


def test_attached_late_it_cleans_what_the_optimizer_remembers():
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters())
    loss_of(model).backward()
    optimizer.step()
    sparsifier = rigl().attach(model, optimizer)
    for name, active in sparsifier.mask.items():
        state = optimizer.state[model.get_parameter(name)]
        assert not state["exp_avg"][~active].any()
        assert state["exp_avg"][active].any()


def test_detached_it_leaves_the_loop_alone():
    model = make_model()
    optimizer = sgd(model)
    sparsifier = rigl().attach(model, optimizer)
    sparsifier.detach()
    loss_of(model).backward()
    optimizer.step()
    assert ss.Mask.of(model).density > 0.9


def test_a_copied_optimizer_and_model_train_freely():
    model = make_model()
    optimizer = sgd(model)
    rigl().attach(model, optimizer)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    loss_of(twin).backward()
    twin_optimizer.step()
    assert ss.Mask.of(twin).density > 0.9
    assert ss.Mask.of(model).density == 0.5


@pytest.mark.parametrize("how", ["warn", "raise"])
def test_a_layer_that_collapses_is_named(how):
    model = nn.Sequential(nn.Linear(100, 100), nn.Linear(2, 2))
    sparsifier = ss.Static(sparsity=0.99, on_collapse=how)
    error = ss.LayerCollapse if how == "warn" else ss.InputError
    catch = pytest.warns if how == "warn" else pytest.raises
    with catch(error, match=r"'1\.weight'"):
        sparsifier.attach(model, sgd(model))


def test_an_optimizer_that_does_not_hold_a_weight_is_refused():
    model = make_model()
    with pytest.raises(ss.InputError, match=r"2\.weight"):
        rigl().attach(model, sgd(model[0]))
    rigl(dense=["2"]).attach(model, sgd(model[0]))


MODULES = {
    "conv1d": (nn.Conv1d(4, 8, 3, groups=2), torch.randn(2, 4, 9)),
    "conv2d depthwise": (nn.Conv2d(4, 4, 3, groups=4), torch.randn(2, 4, 9, 9)),
    "conv3d": (nn.Conv3d(2, 3, 2), torch.randn(2, 2, 4, 4, 4)),
    "transposed": (nn.ConvTranspose2d(4, 3, 3), torch.randn(2, 4, 5, 5)),
    "embedding": (nn.Embedding(10, 4), torch.arange(10)),
    "lstm": (nn.LSTM(4, 5), torch.randn(3, 2, 4)),
    "gru": (nn.GRU(4, 5), torch.randn(3, 2, 4)),
    "attention": (nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), torch.randn(3, 2, 8)),
}


@pytest.mark.parametrize("kind", MODULES)
def test_every_module_with_a_weight_of_two_dimensions(kind):
    model, x = MODULES[kind]
    model = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sparsifier = rigl().attach(model, optimizer)
    counts = sparsifier.mask.counts
    assert set(counts) == {n for n, p in model.named_parameters() if p.ndim > 1}
    for _ in range(4):
        optimizer.zero_grad()
        out = model(x)
        (out[0] if isinstance(out, tuple) else out).square().sum().backward()
        optimizer.step()
        sparsifier.mask.check_contains(model)
    assert sparsifier.mask.counts == counts


@pytest.mark.parametrize("first", ["load", "attach"])
def test_a_run_resumes_whether_one_loads_or_attaches_first(first):
    def start():
        model = make_model()
        return model, torch.optim.Adam(model.parameters(), lr=0.01)

    def step(model, optimizer):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()

    model, optimizer = start()
    sparsifier = rigl().attach(model, optimizer)
    for _ in range(3):
        step(model, optimizer)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), sparsifier.state_dict()))
    step(model, optimizer)

    other, other_optimizer = start()
    other_sparsifier = rigl()
    if first == "attach":
        other_sparsifier.attach(other, other_optimizer)
    other.load_state_dict(saved[0])
    other_optimizer.load_state_dict(saved[1])
    if first == "load":
        other_sparsifier.attach(other, other_optimizer)
    other_sparsifier.load_state_dict(saved[2])
    step(other, other_optimizer)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
        assert torch.equal(optimizer.state[p]["exp_avg"], other_optimizer.state[q]["exp_avg"])


def test_a_frozen_weight_is_held_and_can_be_thawed():
    model = make_model()
    model[0].weight.requires_grad_(False)
    optimizer = sgd(model)
    sparsifier = rigl().attach(model, optimizer)
    assert not model[0].weight.requires_grad
    for step in range(5):
        model[0].weight.requires_grad_(step > 2)
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        sparsifier.mask.check_contains(model)


def test_a_compiled_model_trains_as_the_plain_one():
    def run(wrap):
        model = make_model()
        optimizer = sgd(model)
        called = wrap(model)
        sparsifier = rigl().attach(called, optimizer)
        for _ in range(5):
            optimizer.zero_grad()
            loss_of(called).backward()
            optimizer.step()
        return sparsifier.mask

    torch._dynamo.reset()
    assert run(lambda m: torch.compile(m, backend="aot_eager")) == run(lambda m: m)
    torch._dynamo.reset()


class Gpt(nn.Module):
    """A small decoder with tied embeddings."""

    def __init__(self, words=20, width=16, length=8):
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(length, width)
        self.block = nn.TransformerEncoderLayer(
            width, 2, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens):
        length = tokens.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.words(tokens) + self.places(torch.arange(length))
        return self.head(self.norm(self.block(x, src_mask=causal, is_causal=True)))


def test_a_small_gpt_with_groups_autocast_clipping_and_accumulation():
    torch.manual_seed(0)
    model = Gpt()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=0.01
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
    sparsifier = ss.RigL(0.8, update_every=5, update_until=25, dense=["places"])
    sparsifier.attach(model, optimizer)
    tokens = torch.randint(20, (4, 8), generator=torch.Generator().manual_seed(0))
    losses, start = [], sparsifier.mask
    for _ in range(30):
        optimizer.zero_grad()
        for part in tokens.split(2):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(part[:, :-1])
            loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten())
            (loss / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        sparsifier.mask.check_contains(model)
    assert losses[-1] < 0.7 * losses[0]
    assert sparsifier.mask != start
    assert sparsifier.mask.counts == start.counts
    assert "head.weight" not in sparsifier.mask


def in_the_backward_pass(model, attach, first):
    """An optimizer for each parameter, which steps as soon as its gradient is there."""
    optimizers = {p: torch.optim.SGD([p], lr=0.1, momentum=0.9) for p in model.parameters()}

    def step(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    if first:
        attach(model, *optimizers.values())
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    if not first:
        attach(model, *optimizers.values())


@pytest.mark.parametrize("first", [False, True])
def test_optimizers_that_step_during_the_backward_pass(first):
    def run(loop):
        model, sparsifier = make_model(), ss.SET(0.5, update_every=2)
        loop(model, sparsifier)
        return model, sparsifier

    def inside(model, sparsifier):
        in_the_backward_pass(model, sparsifier.attach, first)
        for _ in range(5):
            loss_of(model).backward()
            sparsifier.mask.check_contains(model)

    def after(model, sparsifier):
        optimizer = sgd(model)
        sparsifier.attach(model, optimizer)
        for _ in range(5):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()

    (one, one_sparsifier), (two, two_sparsifier) = run(inside), run(after)
    assert one_sparsifier.step == two_sparsifier.step == 5
    assert one_sparsifier.mask == two_sparsifier.mask
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("first", [False, True])
def test_gradients_that_are_gone_before_they_are_asked_for_are_no_zeros(first):
    model = make_model()
    in_the_backward_pass(model, rigl().attach, first)

    def two_passes():
        for _ in range(2):
            loss_of(model).backward()

    with pytest.raises(ss.InputError, match="during the backward pass"):
        two_passes()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("method", [rigl, lambda: ss.SNFS(0.5, update_every=2)])
def test_checkpointed_activations_change_nothing(method, reentrant):
    def run(block):
        torch.manual_seed(0)
        model = nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4)])
        optimizer = sgd(model)
        sparsifier = method().attach(model, optimizer)
        for _ in range(5):
            optimizer.zero_grad()
            hidden = model[0](X).relu()
            for _ in range(2):  # the same weights in two blocks
                hidden = block(lambda h: model[1](h).relu(), hidden)
            model[2](hidden).square().mean().backward()
            optimizer.step()
        return sparsifier.mask

    def checkpointed(part, hidden):
        return torch.utils.checkpoint.checkpoint(part, hidden, use_reentrant=reentrant)

    assert run(checkpointed) == run(lambda part, hidden: part(hidden))


def test_a_training_step_that_is_compiled_as_a_whole_is_compiled_once():
    torch._dynamo.reset()
    counter = CompileCounter()
    model, expected = make_model(), make_model()
    optimizer, expected_optimizer = sgd(model), sgd(expected)
    sparsifier = rigl().attach(model, optimizer)
    expected_sparsifier = rigl().attach(expected, expected_optimizer)

    def step(model, optimizer):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()

    compiled, frames = torch.compile(step, backend=counter), []
    for _ in range(9):
        compiled(model, optimizer)
        step(expected, expected_optimizer)
        frames.append(counter.frame_count)
        sparsifier.mask.check_contains(model)
    assert sparsifier.step == 9
    assert sparsifier.mask == expected_sparsifier.mask
    assert frames[4:] == [frames[4]] * 5
    torch._dynamo.reset()


def test_parameters_that_join_later_are_free():
    model = make_model()
    optimizer = sgd(model)
    sparsifier = rigl().attach(model, optimizer)
    late = nn.Parameter(torch.ones(3, 3))
    for step in range(4):
        if step == 2:
            optimizer.add_param_group({"params": [late], "lr": 0.01})
        optimizer.zero_grad()
        (loss_of(model) + late.square().sum()).backward()
        optimizer.step()
        sparsifier.mask.check_contains(model)
    assert sparsifier.step == 4
    assert (late < 1).all()
    assert late.all()


class StepOfItsBase(torch.optim.SGD):
    """Torch runs the hooks at both steps, once there was an optimizer of the base's own."""

    def step(self, closure=None):
        return super().step(closure)


def test_a_first_step_with_a_closure_counts_at_learning_rate_0_too():
    """As of a warm-up: its gradients are yet to come, and those that are there may be zeros."""
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    sparsifier = ss.SET(0.5).attach(model, optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)

    def closure():
        optimizer.zero_grad(set_to_none=False)
        loss = model(torch.ones(2, 8)).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert sparsifier.step == 1


@pytest.mark.parametrize("with_closure", [False, True])
def test_a_step_that_calls_its_bases_step_is_one_step(with_closure):
    torch.optim.SGD(make_model().parameters(), lr=0.1)
    runs = []
    for kind in (torch.optim.SGD, StepOfItsBase):
        model = make_model()
        optimizer = kind(model.parameters(), lr=0.1, momentum=0.9)
        sparsifier = ss.RigL(0.5, update_every=3).attach(model, optimizer)

        def closure(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            return loss

        def failing():
            raise KeyError

        for step in range(7):
            if step == 2:
                with pytest.raises(KeyError):
                    optimizer.step(failing)
            if with_closure:
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
        assert sparsifier.step == 7
        runs.append((model, sparsifier.mask))
    assert runs[0][1] == runs[1][1]
    for one, other in zip(*(model.parameters() for model, _ in runs), strict=True):
        assert torch.equal(one, other)

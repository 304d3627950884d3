"""Optimizers as other people write them: wrappers, preconditioners, two-step closures."""

from __future__ import annotations

import torch
from torch.optim import SGD, Optimizer


class Lion(Optimizer):
    """Chen et al. 2023: the sign of an interpolated momentum."""

    def __init__(self, params, lr=0.01, weight_decay=0.1):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in filter(lambda p: p.grad is not None, group["params"]):
                state = self.state[p]
                if len(state) == 0:
                    state["exp_avg"] = torch.zeros_like(p)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(state["exp_avg"].lerp(p.grad, 0.1).sign(), alpha=-group["lr"])
                state["exp_avg"].lerp_(p.grad, 0.01)


class Sophia(Optimizer):
    """Liu et al. 2023: clipped by a curvature that the loop estimates between steps."""

    def __init__(self, params, lr=0.02):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def update_hessian(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                curvature = state.setdefault("hessian", torch.zeros_like(p))
                curvature.lerp_(p.grad * p.grad, 0.01)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in filter(lambda p: p.grad is not None, group["params"]):
                state = self.state[p]
                speed = state.setdefault("exp_avg", torch.zeros_like(p)).lerp_(p.grad, 0.1)
                curvature = state.setdefault("hessian", torch.zeros_like(p))
                p.sub_((speed / (curvature + 1e-12)).clamp(-1, 1), alpha=group["lr"])


class Shampoo(Optimizer):
    """Gupta et al. 2018: a preconditioner a side. It expects every parameter to have a gradient."""

    def __init__(self, params, lr=0.05, eps=1e-3):
        super().__init__(params, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state, move = self.state[p], p.grad
                for side, size in enumerate(p.shape):
                    if f"preconditioner {side}" not in state:
                        state[f"preconditioner {side}"] = group["eps"] * torch.eye(size)
                    unfolded = p.grad.movedim(side, 0).flatten(1) if p.ndim > 1 else p.grad[:, None]
                    state[f"preconditioner {side}"] += unfolded @ unfolded.T
                    values, vectors = torch.linalg.eigh(state[f"preconditioner {side}"])
                    assert (values > 0).all(), "a preconditioner is positive definite"
                    root = vectors * values ** (-0.5 / p.ndim) @ vectors.T
                    move = torch.tensordot(root, move, ([1], [side])).movedim(0, side)
                p.sub_(move, alpha=group["lr"])


class ScheduleFree(Optimizer):
    """Defazio et al. 2024: a second set of weights, which evaluation swaps in."""

    def __init__(self, params, lr=0.1, beta=0.9):
        super().__init__(params, {"lr": lr, "beta": beta, "k": 0})

    @torch.no_grad()
    def _towards_z(self, share):
        for group in self.param_groups:
            for p in filter(lambda p: "z" in self.state[p], group["params"]):
                p.lerp_(self.state[p]["z"], share(group["beta"]))

    def eval(self):
        self._towards_z(lambda beta: 1 - 1 / beta)

    def train(self):
        self._towards_z(lambda beta: 1 - beta)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            share, beta = 1 / (group["k"] + 1), group["beta"]
            for p in group["params"]:
                if "z" not in self.state[p]:
                    self.state[p]["z"] = torch.clone(p)
                p.lerp_(self.state[p]["z"], share)
                p.add_(p.grad, alpha=group["lr"] * (beta * (1 - share) - 1))
                self.state[p]["z"].sub_(p.grad, alpha=group["lr"])
            group["k"] += 1


class Lookahead(Optimizer):
    """Zhang et al. 2019: slow weights that the fast ones are drawn back to every k steps."""

    def __init__(self, inner, k=3):
        self.inner, self.k, self.taken = inner, k, 0
        super().__init__(inner.param_groups, {})
        self.param_groups = inner.param_groups
        for p in (p for group in self.param_groups for p in group["params"]):
            self.state[p]["slow"] = p.detach().clone()

    @torch.no_grad()
    def step(self, closure=None):
        loss = self.inner.step(closure)
        self.taken += 1
        if self.taken % self.k == 0:
            for p, state in self.state.items():
                p.copy_(state["slow"].lerp_(p, 0.5))
        return loss


class SAM(Optimizer):
    """Foret et al. 2021, as in the implementation that most use: two steps, one base optimizer."""

    def __init__(self, params, base=SGD, rho=0.05, **settings):
        super().__init__(params, {"rho": rho, **settings})
        self.base_optimizer = base(self.param_groups, **settings)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        moved = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in moved]).norm()
        for p in moved:
            self.state[p]["old_p"] = p.data.clone()
            p.add_(p.grad, alpha=self.param_groups[0]["rho"] / float(norm))
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for p, state in self.state.items():
            p.data = state["old_p"]
        self.base_optimizer.step()

    def step(self, closure=None):
        self.first_step()
        torch.enable_grad()(closure)()
        self.second_step()

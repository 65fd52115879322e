"""BAdam."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core.catalog import Need
from optim_core.errors import InvalidOption
from optim_core.methods import argument, hyper
from optim_core.optimizers import RuleOptimizer, hashed_seed, parameters
from optim_core.wrapping import Wrapper

#: The name of a transformer's layer, as far as its number.
_LAYER = re.compile(r".*\b(?:layers?|blocks?|h)\.\d+\.")
_EMBEDDING = re.compile(r".*embed[^.]*\.|(?:.*\.)?w[tp]e\.")


class BAdam(Wrapper):
    """Trains one block of the model at a time: gradients and states are there for that block only.

    The parameters of all other blocks ask for no gradient meanwhile. After step t of the base, where switch_every
    divides t + 1, the next block's turn comes, and the base forgets what it keeps of all parameters, so that averages
    and their bias correction begin anew. The ``order`` is

    - "descending": the last block is the first, then comes the one before, and the last one again after the first;
    - "ascending": the other way round;
    - "random": a new permutation in each round, which follows from ``seed``;
    - "fixed": the same block all the time.

    So the first block has switch_every - 1 steps, and all others switch_every, as in the authors' code; the paper has
    switch_every for all. What the base keeps of the model as a whole goes on, and so does what wrappers keep.

    ``blocks`` are lists of parts of names: a parameter belongs to a block if one of them occurs in its name. So
    "layers.1" is in "layers.10" as well: end it with a dot. By default each numbered layer is a block ("layers.0.",
    "blocks.0.", "h.0."), and a model that has none is a single one. Embeddings, each by itself, come before them with
    ``include_embedding``, all the rest after them with ``include_lm_head``; **otherwise they never train**, like
    whatever is in no block. ``n_blocks`` cuts any model into as many runs of tensors, in their order. What is in
    ``active``, parts of names, too, always trains. Names come from the base (``model.named_parameters()``), or from
    ``names``, in the order of the parameters. A block on which the loss does not depend ends in an error of backward().

    What asks for no gradient when the wrapper is built is left alone for good; from then on the wrapper should be the
    only one to turn the others on and off. The state dict holds the count of steps, so that a training goes on in the
    same block. Where parameters have half precision the authors keep copies of a block in float32; here that is the
    base's ``rounding="kahan"``. DistributedDataParallel expects gradients of all blocks, and does not go with it.

    Raises:
        InvalidOption: parameters have no names, ``names`` are not as many as the parameters, a block has no parameter,
            ``start_block`` is not the number of one, or ``n_blocks`` are more than the parameters, or given beside
            ``blocks``.

    Example:
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
        >>> base = torch.optim.AdamW(layers.named_parameters(), lr=0.1)
        >>> optimizer = BAdam(base, blocks=[["0."], ["1."]], switch_every=3, order="ascending")
        >>> for _ in range(3):
        ...     loss = optimizer.minimize(lambda: layers(torch.ones(1, 2)).square().mean())
        ...     print([name for name, p in layers.named_parameters() if p.requires_grad])
        ['0.weight', '0.bias']
        ['1.weight', '1.bias']
        ['1.weight', '1.bias']

    Source: Luo et al., BAdam: A Memory Efficient Full Parameter Optimization Method for Large Language Models, 2024,
    Algorithm 1, https://arxiv.org/abs/2404.02827; rhythm and orders as in the authors' code.
    """

    switch_every: int = hyper(50, "steps of a block", ge=1)
    order: str = hyper("descending", "in which blocks come", choices=("descending", "ascending", "fixed", "random"))
    start_block: int | None = hyper(
        None, "number of the first block, from 0; None for what the order says", ge=0, examples=(0,)
    )
    n_blocks: int | None = hyper(None, "cut the model into so many blocks; None for its layers", ge=1)
    seed: int = hyper(0, "of the random order", ge=0)

    blocks: Sequence[Sequence[str]] | None = argument(default=None, kw_only=True)
    active: Sequence[str] = argument(default=(), kw_only=True)
    names: Sequence[str] | None = argument(default=None, kw_only=True)
    include_embedding: bool = argument(default=False, kw_only=True)
    include_lm_head: bool = argument(default=False, kw_only=True)
    arguments: ClassVar[tuple[str, ...]] = ("blocks", "active", "names", "include_embedding", "include_lm_head")

    needs: ClassVar[frozenset[Need]] = frozenset({"named_params"})

    def needs_in_force(self) -> frozenset[Need]:
        """No names of the base's, if they are given here."""
        needs = super().needs_in_force()
        return needs if self.names is None else needs - {"named_params"}

    def on_wrap(self) -> None:
        """Begin with the first block."""
        self.counters["steps"] = 0
        self._resting: set[Tensor] = set()
        super().on_wrap()

    def on_group(self, group: dict[str, Any]) -> None:
        """See to which blocks the parameters belong."""
        super().on_group(group)
        self._rest()

    # blocks -----------------------------------------------------------------------------------------------------
    def _named(self) -> dict[Tensor, str]:
        """The parameters with their names."""
        params = parameters(self)
        if self.names is not None:
            names = list(self.names)
        else:
            names = [name for group in self.param_groups for name in group.get("param_names", ())]
        if len(names) != len(params):
            raise InvalidOption(
                f"{self.method.name} goes by the parameters' names, and has {len(names)} for {len(params)} of them: "
                "build the base with model.named_parameters(), or give names=[...], one for each parameter"
            )
        return dict(zip(params, names, strict=True))

    def _blocks(self, names: Sequence[str]) -> list[set[str]]:
        """The names of each block."""
        n: int | None = self.options["n_blocks"]
        if n is not None and (self.blocks is not None or n > len(names)):
            raise InvalidOption(
                f"{self.method.name}: n_blocks={n} cuts {len(names)} parameters into as many blocks: give no more than "
                "that, and no blocks beside it"
            )
        if n is not None:
            return [{*names[k * len(names) // n : (k + 1) * len(names) // n]} for k in range(n)]
        if self.blocks is None:
            return self._layers(names)
        blocks = []
        for parts in self.blocks:
            found = set() if isinstance(parts, str) else {name for name in names if any(part in name for part in parts)}
            if not found:
                raise InvalidOption(
                    f"{self.method.name}: no parameter belongs to the block {parts!r}: give each block as a list of "
                    f"parts of names, such as [{min(names, default='layers.0.')!r}]"
                )
            blocks.append(found)
        return blocks

    def _layers(self, names: Sequence[str]) -> list[set[str]]:
        """The blocks that the names make."""
        layers: dict[str, set[str]] = {}
        embeddings: dict[str, set[str]] = {}
        others: set[str] = set()
        for name in names:
            if layer := _LAYER.match(name):
                layers.setdefault(layer[0], set()).add(name)
            elif embedding := _EMBEDDING.match(name):
                embeddings.setdefault(embedding[0], set()).add(name)
            else:
                others.add(name)
        if not layers:
            return [set(names)]
        first = embeddings.values() if self.include_embedding else ()
        last = [others] if self.include_lm_head and others else []
        return [*first, *layers.values(), *last]

    def _turn(self, blocks: int) -> int:
        """The number of the block whose turn it is."""
        order: str = self.options["order"]
        every: int = self.options["switch_every"]
        start: int | None = self.options["start_block"]
        if start is not None and start >= blocks:
            raise InvalidOption(f"{self.method.name}: start_block={start} of {blocks} blocks: give 0 to {blocks - 1}")
        switches = (int(self.counters["steps"]) + 1) // every - 1 // every  # not before the first step
        if order == "fixed":
            return start or 0
        if order == "ascending":
            return ((start or 0) + switches) % blocks
        if order == "descending":
            return ((blocks - 1 if start is None else start) - switches) % blocks
        if start is not None and switches == 0:
            return start
        round_, at = divmod(switches - (start is not None), blocks)  # a first block that is given comes before them
        generator = torch.Generator().manual_seed(hashed_seed(self.options["seed"], round_))
        return int(torch.randperm(blocks, generator=generator)[at])

    def _rest(self) -> None:
        """Have those parameters ask for a gradient whose turn it is, and no others."""
        named = self._named()
        blocks = self._blocks([*named.values()])
        trained = blocks[self._turn(len(blocks))]
        for p, name in named.items():
            if name in trained or any(part in name for part in self.active):
                if p in self._resting:
                    p.requires_grad_(True)
                    self._resting.remove(p)
            elif p.requires_grad:
                p.requires_grad_(False)
                p.grad = None
                self._resting.add(p)

    # stepping ---------------------------------------------------------------------------------------------------
    def apply(self) -> None:
        """A step of the base on the block, and the next block's turn."""
        super().apply()
        self.counters["steps"] += 1
        if (self.counters["steps"] + 1) % self.options["switch_every"] == 0:
            self._rest()
            self._forget()

    def _forget(self) -> None:
        """Have the base begin anew; what wrappers keep stays."""
        wrappers = tuple(f"{name}_" for name, _ in self.param_groups[0]["layers"][1:])
        for p in parameters(self):
            for key, x in self.state.pop(p, {}).items():
                if key.startswith(wrappers):
                    self.state_of(p)[key] = x
        if isinstance(self.innermost, RuleOptimizer):
            self.innermost.forget()

    # what may change between steps --------------------------------------------------------------------------------
    def on_exchange(self, present: Collection[Tensor]) -> None:
        """Leave alone what has left, and see to which blocks the others belong."""
        super().on_exchange(present)
        self._resting &= set(present)
        self._rest()

    def on_loaded(self) -> None:
        """Go on in the block in which the state was saved."""
        super().on_loaded()
        self._rest()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_resting": self._resting}

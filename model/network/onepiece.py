"""The encoder-decoder: towers, HSTU layers, and a decoder where there are semantic IDs.

Paper: section 3. The last hidden state is used in two ways: it is compared with item vectors by
cosine, and the decoder generates semantic IDs from it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from model.dataset.item_features import ItemFeatures
from model.dataset.schema import FeatureSchema
from model.dataset.sequences import Batch
from model.network.attention_plan import AttentionPlan, plan_attention
from model.network.context import ContextTower, UserTower
from model.network.decoder import DecoderState, SidDecoder
from model.network.feed_forward import EPSILON, total_balance_loss
from model.network.history_skip import HistorySkip
from model.network.hstu import NUM_TIME_BUCKETS, HSTULayer
from model.network.item_tower import ItemTower
from model.network.moe import SparseMoE
from model.network.sharded_table import ShardedTable

if TYPE_CHECKING:
    from model.params import NetworkParams


@dataclass(frozen=True)
class EncoderOutput:
    """What the encoder makes of a batch.

    Attributes:
        hidden: (T, dim) one state per token.
        item_vectors: (U, dim) the batch's distinct items as targets, not normalised.
        balance_loss: () of all experts, weighted.
        plan: of the rows, for the decoder.
    """

    hidden: Tensor
    item_vectors: Tensor
    balance_loss: Tensor
    plan: AttentionPlan


class OnePiece(nn.Module):
    """The whole network."""

    def __init__(self, schema: FeatureSchema, params: "NetworkParams") -> None:
        """Make the network with fresh weights from torch's generator.

        Args:
            schema: of the data.
            params: the ``network`` section, or anything with its attributes.
        """
        super().__init__()
        self.time_bias = params.time_bias
        self.input_dropout = params.input_dropout
        self.dual_path = params.features.dual_path
        self.items = ItemTower(schema, params.features, params.dim)
        self.context = ContextTower(schema, params.features, params.dim)
        self.users = UserTower(schema, params.features, params.dim)
        self.layers = nn.ModuleList(HSTULayer(params) for _ in range(params.num_layers))
        self.norm = nn.LayerNorm(params.dim, eps=EPSILON)
        self.skip = HistorySkip(params.history_skip, params.dim) if params.history_skip else None
        self._decoder = SidDecoder(params, schema.sid_sizes) if schema.sid_sizes else None

    @property
    def decoder(self) -> SidDecoder:
        """The decoder; only a network with semantic IDs has one."""
        assert self._decoder is not None, "made without semantic IDs"
        return self._decoder

    def embed_items(self, items: ItemFeatures) -> Tensor:
        """Items as targets and candidates: (N, dim), not normalised."""
        return self._as_targets(self.items(items))

    def _as_targets(self, item_vectors: Tensor) -> Tensor:
        """The identity path; without the dual path the same ReLU as in the sequence."""
        return item_vectors if self.dual_path else F.relu(item_vectors)

    def encode(self, batch: Batch) -> EncoderOutput:
        """Run the encoder over B packed rows of T tokens."""
        item_vectors = self.items(batch.items)
        # Plain indexing would sum its gradient in a nondeterministic order with several threads.
        x = F.embedding(batch.token_items, item_vectors)
        first = batch.offsets[:-1]
        x = x.index_fill(0, first, 0.0)
        context = self.context(batch)
        x = F.relu(x if context is None else x + context)
        x = x.index_add(0, first, self.users(batch).to(x.dtype))
        x = F.dropout(x, self.input_dropout, self.training)
        timestamps = batch.timestamps if self.time_bias else None
        plan = plan_attention(batch.offsets, timestamps, NUM_TIME_BUCKETS)
        losses: list[Tensor | None] = []
        for layer in self.layers:
            x, loss = layer(x, plan, batch.rows)
            losses.append(loss)
        hidden, item_vectors = self.norm(x), self._as_targets(item_vectors)
        if self.skip is not None:
            hidden = hidden + self.skip(item_vectors, batch)
        return EncoderOutput(
            hidden=hidden,
            item_vectors=item_vectors,
            balance_loss=total_balance_loss(losses, x),
            plan=plan,
        )

    def start_decoding(self, encoded: EncoderOutput) -> DecoderState:
        """The decoder's memory of every row of a batch."""
        plan = encoded.plan
        return self.decoder.start(encoded.hidden, plan.offsets, plan.timestamps)

    def experts(self) -> list[SparseMoE]:
        """The mixtures of experts, first layer first."""
        return [module for module in self.modules() if isinstance(module, SparseMoE)]

    def embedding_tables(self) -> dict[str, nn.Parameter]:
        """The tables whose gradients are sparse, by name."""
        sparse = {
            f"{name}.weight"
            for name, module in self.named_modules()
            if isinstance(module, nn.Embedding) and module.sparse
        }
        return {name: table for name, table in self.named_parameters() if name in sparse}

    def hidden_matrices(self) -> dict[str, tuple[nn.Parameter, int]]:
        """The matrices between hidden states, for Muon: parameter and blocks along dimension 0.

        Stacked projections count as the separate matrices, also those of several shared experts,
        except for their outputs, which lie side by side and count as one; fused experts have one
        matrix per index of the first dimension. Gates and output layers over codes are excluded.
        """
        stacks = {"uvqk": 4, "uq": 2, "vk": 2, "w1": 2}
        of_shared = {
            f"{name}.shared.w1": stacks["w1"] * module.num_shared_experts
            for name, module in self.named_modules()
            if isinstance(module, SparseMoE)
        }
        chosen: dict[str, tuple[nn.Parameter, int]] = {}
        for name, parameter in self.named_parameters():
            inside = name.startswith(("layers.", "_decoder.levels.")) and ".bias." not in name
            outside = name in ("items.projection.weight", "users.projection.weight")
            place = name.removesuffix(".weight").rsplit(".", 1)[-1]
            is_matrix = parameter.dim() >= 2 and place not in ("head", "gate")
            if (inside or outside) and is_matrix:
                chosen[name] = (parameter, of_shared.get(name, stacks.get(place, 1)))
        return chosen


def count_table_parameters(network: nn.Module) -> int:
    """Parameters of embedding tables; of sharded ones, those of all processes."""
    tables = [module for module in network.modules() if isinstance(module, nn.Embedding)]
    rows = [
        table.num_rows if isinstance(table, ShardedTable) else len(table.weight) for table in tables
    ]
    return sum(n * table.embedding_dim for n, table in zip(rows, tables, strict=True))


def count_parameters(network: nn.Module) -> int:
    """Parameters outside embedding tables, as the paper counts a model's size."""
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    return sum(p.numel() for p in network.parameters() if id(p) not in tables)

"""A checkpoint with its catalogue, trie and search, ready to recommend; and the beams' proposals.

Paper: section 2.1, generative pruning; the vectors of the ranking come from the same weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.dataset.interactions import CLICK, CONVERSION, Interactions
from model.dataset.item_features import ItemFeatureStore
from model.dataset.item_statistics import ItemStatistics
from model.dataset.recommendable import blocked_items
from model.dataset.sequences import Batch, SequenceDataset
from model.dataset.split import Part
from model.errors import InputError
from model.inference import ragged
from model.inference.beam_search import Beams, beam_search
from model.inference.catalogue import Catalogue, build_catalogue
from model.inference.filters import Seen, allowed_items, seen_items
from model.inference.inputs import InferenceInputs
from model.inference.search import ExactSearch, VectorSearch
from model.inference.trie import Trie, build_trie
from model.network.checkpoint import Checkpoint
from model.network.onepiece import EncoderOutput, OnePiece
from model.network.thread_invariance import thread_invariant
from model.network.unit import unit
from model.params import CascadeParams
from model.progress import track
from model.tokenizer.codebook import Codebook

ACTIONS = {"click": CLICK, "conversion": CONVERSION}


@dataclass(frozen=True)
class Proposals:
    """What the beams propose to a batch of B users: M items each, in the order of the beams.

    M is 0 where search alone answers (``cascade.num_sids`` is 0).

    Attributes:
        users: (B,) user indices.
        queries: (B, D) float32, the users' unit vectors.
        rows: (B, M) int64 catalogue rows, -1 where there are fewer.
        cosines: (B, M) float32 of user and item.
        log_probs: (B, M) float32 of the item's semantic ID, -inf where ``rows`` is -1.
        seen: the catalogue rows in the users' histories.
        hidden: (B, M) bool, the proposals that are among ``seen``.
    """

    users: np.ndarray
    queries: Tensor
    rows: Tensor
    cosines: Tensor
    log_probs: Tensor
    seen: Seen
    hidden: Tensor


@dataclass(frozen=True)
class Recommender:
    """One checkpoint, ready to recommend.

    Attributes:
        network: in evaluation mode, with a decoder.
        dataset: gives the users' histories as batches.
        interactions: the same histories, for the filters.
        blocked: (N,) int64 item ids of the caller's block list.
        catalogue: the allowed items.
        trie: their semantic IDs; its items are catalogue rows.
        search: over the catalogue's vectors, with the logQ correction built in.
        params: of the cascade.
        device: of all tensors.
    """

    network: OnePiece
    dataset: SequenceDataset
    interactions: Interactions
    blocked: np.ndarray
    catalogue: Catalogue
    trie: Trie
    search: VectorSearch
    params: CascadeParams
    device: torch.device

    def propose(self, part: Part, users: np.ndarray) -> Iterator[Proposals]:
        """Run the encoder and the beams over users, a batch at a time, in the data set's order."""
        for indices, batch in self.batches(part, users):
            yield self.propose_encoded(part, indices, *self.encode(batch))

    def batches(
        self, part: Part, users: np.ndarray, *, told: bool = True
    ) -> Iterator[tuple[np.ndarray, Batch]]:
        """The users' histories, (user indices, batch) at a time.

        Args:
            part: which target the histories end before.
            users: (N,) user indices.
            told: whether the network is told a held-out target's action.
        """
        batches = self.dataset.evaluation_batches(
            part,
            users,
            self.params.batch_size,
            default_action=ACTIONS[self.params.default_action],
            told=told,
        )
        total = -(-len(users) // self.params.batch_size)
        what = f"cascade, {part}" if told else f"cascade, {part}, action not told"
        for indices, batch in track(batches, total=total, what=what, unit="batch"):
            yield indices, batch.to(self.device)

    @torch.inference_mode()
    def encode(self, batch: Batch) -> tuple[EncoderOutput, Tensor]:
        """The encoder's output and the users' unit vectors (B, D) float32."""
        with thread_invariant(min(len(batch.last), len(batch.items.ids))):
            encoded = self.network.encode(batch)
        return encoded, unit(encoded.hidden[batch.last])

    @torch.inference_mode()
    def propose_encoded(
        self,
        part: Part,
        users: np.ndarray,
        encoded: EncoderOutput,
        queries: Tensor,
    ) -> Proposals:
        """What the beams propose to one batch of users, from the encoder's output on."""
        seen = self.seen(part, users)
        if self.params.num_sids == 0:
            nothing = queries.new_zeros(len(users), 0)
            rows, cosines, log_probs = nothing.long(), nothing, nothing
        else:
            beams = self.beams(encoded, len(users))[-1]
            rows, cosines, log_probs = self._items(queries, beams.nodes, beams.log_probs)
        return Proposals(users, queries, rows, cosines, log_probs, seen, seen.contains(rows))

    def seen(self, part: Part, users: np.ndarray) -> Seen:
        """What the history filter hides from users."""
        return seen_items(
            self.interactions,
            users,
            part,
            action_types=self.params.filter_history,
            rows=self.catalogue.rows,
            num_rows=len(self.catalogue),
        ).to(self.device)

    @torch.inference_mode()
    def beams(self, encoded: EncoderOutput, num_users: int) -> list[Beams]:
        """What the search keeps of a batch after each level of the semantic IDs."""
        with thread_invariant(num_users):
            return beam_search(
                self.network.decoder,
                self.network.start_decoding(encoded),
                self.trie,
                beam_width=self.params.beam_width,
                num_sids=min(self.params.num_sids, self.trie.num_sids),
            )

    def _items(
        self, queries: Tensor, leaves: Tensor, log_probs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, cosines and log-probabilities (B, M) of all items of the semantic IDs."""
        parents = leaves.clamp(min=0)
        starts = self.trie.item_offsets[parents]
        counts = torch.where(leaves >= 0, self.trie.item_offsets[parents + 1] - starts, 0)
        owners, places = ragged.expand(starts.flatten(), counts.flatten())
        rows = self.trie.items[places]
        offsets = ragged.offsets_of(counts.sum(dim=1))
        cosines = ragged.sampled_dot(queries, self.catalogue.vectors, offsets, rows)
        user = owners // leaves.shape[1]
        return (
            ragged.pack(rows, user, offsets, -1),
            ragged.pack(cosines, user, offsets, -torch.inf),
            ragged.pack(log_probs.flatten()[owners], user, offsets, -torch.inf),
        )


def prepare_recommender(
    inputs: InferenceInputs, params: CascadeParams, device: torch.device
) -> Recommender:
    """Load a checkpoint and build the catalogue and the trie for it.

    Args:
        inputs: the checkpoint, its codebook and its data.
        params: of the cascade.
        device: to compute on.

    Raises:
        InputError: the checkpoint has no decoder, or was trained with another codebook or other
            items; there is nothing to recommend, or a blocked item is not in the data.
    """
    interactions, statistics = inputs.interactions, inputs.statistics
    _check_fit(inputs.checkpoint, inputs.codebook)
    inputs.checkpoint.require_data(interactions, statistics, inputs.embeddings)
    network = inputs.checkpoint.build().to(device)
    features = ItemFeatureStore(interactions, statistics, dict(inputs.embeddings), device)
    blocked, items = _blocked_and_allowed(interactions, statistics, params)
    codes = inputs.codebook.codes
    catalogue = build_catalogue(
        network,
        features,
        interactions,
        statistics,
        items,
        codes,
        group_feature=params.group_feature if params.max_per_group else None,
        device=device,
    )
    return Recommender(
        network=network,
        dataset=SequenceDataset(
            interactions, statistics, features, inputs.checkpoint.network_params
        ),
        interactions=interactions,
        blocked=blocked,
        catalogue=catalogue,
        trie=build_trie(codes[items], priority=catalogue.counts).to(device),
        search=ExactSearch(catalogue.vectors, -params.logq_weight * catalogue.log_q),
        params=params,
        device=device,
    )


def _blocked_and_allowed(
    interactions: Interactions, statistics: ItemStatistics, params: CascadeParams
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int64 items of the block list, (C,) int32 items that may be recommended."""
    blocked, counts = blocked_items(interactions, params.blocked_items), statistics.counts
    return blocked, allowed_items(
        interactions, counts.sum(axis=1), filter_cold=params.filter_cold, blocked=blocked
    )


def _check_fit(checkpoint: Checkpoint, codebook: Codebook) -> None:
    trained, given = tuple(checkpoint.schema.sid_sizes), tuple(codebook.sizes)
    if not trained:
        raise InputError(
            "recommender_checkpoint has no semantic ID decoder: give one weight per codebook level "
            "in recommender_checkpoint.loss.sid_weights and train it again"
        )
    if trained != given:
        raise InputError(
            f"recommender_checkpoint was trained with codebook sizes {list(trained)} and the "
            f"codebook has {list(given)}; train the recommender again"
        )
    learned = checkpoint.metadata.get("semantic_ids")  # earlier versions did not record it
    if learned not in (None, codebook.semantic_ids):
        raise InputError(
            "recommender_checkpoint was trained with another codebook, whose semantic IDs meant "
            "other items; train the recommender again"
        )

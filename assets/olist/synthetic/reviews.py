"""What the customers of a synthetic shop say: free text, shared review ids, second reviews and broken scores."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from assets.olist.synthetic import cells
from assets.olist.synthetic.cells import Columns
from assets.olist.synthetic.orders import ABSENT, DAY, HOUR, Orders
from assets.olist.synthetic.plan import Plan
from assets.olist.synthetic.words import TITLES, comments
from medallion import draw

_SCORES_ON_TIME, _SCORES_LATE = (7, 3, 8, 20, 62), (46, 9, 14, 15, 16)


def reviews_columns(plan: Plan, made: Orders, broken_orders: draw.Ints, rng: np.random.Generator) -> Columns:
    """The reviews file: free text, ids that two orders share, orders reviewed twice, and the planned broken scores."""
    sound = np.setdiff1d(made.ordinary, broken_orders)
    silent = rng.permutation(sound)[: plan.orders_without_review]
    reviewed = np.setdiff1d(np.arange(plan.orders), silent)
    twice = np.sort(rng.permutation(reviewed)[: plan.orders_reviewed_twice])
    order = np.concatenate([reviewed, twice])
    count = plan.reviews

    known = np.where(made.delivered == ABSENT, made.estimated, made.delivered)[order]
    late = known > made.estimated[order]
    score = 1 + np.where(late, draw.classes(rng, count, _SCORES_LATE), draw.classes(rng, count, _SCORES_ON_TIME))
    created = (known // DAY + 1 + rng.integers(0, 3, count)) * DAY
    created[len(reviewed) :] += rng.integers(3, 30, len(twice)) * DAY
    answered = created + rng.integers(6 * HOUR, 6 * DAY, count)
    pool = comments()
    message = rng.integers(0, len(pool), count)
    title = rng.integers(0, len(TITLES), count)
    no_message, no_title = rng.random(count) < 0.59, rng.random(count) < 0.88

    pairs = rng.permutation((len(reviewed) - 1) // 2)[: plan.reviews_with_a_repeated_id] * 2
    source = np.arange(count)
    source[pairs] = pairs + 1
    rules = plan.broken["reviews"]
    alone = np.isin(order, sound) & (source == np.arange(count))
    alone[pairs + 1] = False
    broken = rng.permutation(np.flatnonzero(alone))[: sum(rules.values())]
    range_broken, text_broken = np.split(broken, [rules["score_out_of_range"]])
    scores = cells.replaced(cells.whole(score), range_broken, ["9"] * len(range_broken))
    columns = {
        "review_id": cells.hex_ids(rng, count),
        "review_score": cells.replaced(scores, text_broken, ["five"] * len(text_broken)),
        "review_comment_title": cells.quoted(cells.pick(TITLES, title, no_title)),
        "review_comment_message": cells.quoted(cells.pick(pool, message, no_message)),
        "review_creation_date": cells.moments(created),
        "review_answer_timestamp": cells.moments(answered),
    }
    taken = {name: column.take(pa.array(source)) for name, column in columns.items()}
    in_file_order = {"review_id": taken.pop("review_id"), "order_id": made.ids.take(pa.array(order)), **taken}
    return cells.shuffled(in_file_order, rng)

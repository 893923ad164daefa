"""Queries of every shape that Django's documentation shows, over tenant models.

Each takes a function that makes the queryset of a model, so that the same query runs
with the ORM's predicate and without it. What it returns in acme's scope is the same
whether or not globex has any rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    FilteredRelation,
    IntegerField,
    Max,
    Min,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import (
    Coalesce,
    Concat,
    DenseRank,
    Length,
    Rank,
    RowNumber,
    TruncYear,
    Upper,
)

from project.tracker.models import Bookmark, Comment, Label, Project, Task
from tenancy.models import Membership, Organization, Role, User
from tests.apps.notebook.models import (
    Category,
    Cover,
    Folder,
    LoudNote,
    Note,
    Pin,
    Remark,
)

Source = Callable[[Any], Any]  # Any: querysets of any model.
Shape = Callable[[Source], Any]

# From a tenant model: each of them also runs over a bare queryset.
TENANT_SHAPES: dict[str, Shape] = {
    "all": lambda rows: rows(Note).all(),
    "organization": lambda rows: rows(Organization).all(),
    "role": lambda rows: rows(Role).all(),
    "membership": lambda rows: rows(Membership).all(),
    "membership user": lambda rows: rows(Membership).select_related("user"),
    "proxy": lambda rows: rows(LoudNote).all(),
    "through": lambda rows: rows(Task.labels.through).count(),
    "count": lambda rows: rows(Note).count(),
    "exists": lambda rows: rows(Note).filter(text="secret").exists(),
    "aggregate": lambda rows: rows(Note).aggregate(
        Sum("weight"), Avg("weight"), Max("weight"), Min("weight"), n=Count("*")
    ),
    "aggregate distinct": lambda rows: rows(Note).aggregate(
        n=Count("folder", distinct=True)
    ),
    "aggregate filter": lambda rows: rows(Note).aggregate(
        n=Count("pk", filter=Q(weight__gt=10))
    ),
    "aggregate default": lambda rows: (
        rows(Note).filter(weight__gt=50).aggregate(n=Sum("weight", default=0))
    ),
    "aggregate slice": lambda rows: rows(Note)[:10].aggregate(Sum("weight")),
    "aggregate annotated": lambda rows: (
        rows(Note).annotate(n=Count("remarks")).aggregate(Sum("n"))
    ),
    "in_bulk": lambda rows: rows(Note).in_bulk(),
    "values": lambda rows: rows(Note).values("code", "folder__name"),
    "values_list": lambda rows: rows(Note).values_list("code", flat=True),
    "named values": lambda rows: [
        tuple(row) for row in rows(Note).values_list("code", "weight", named=True)
    ],
    "dates": lambda rows: rows(Note).dates("written_at", "year"),
    "datetimes": lambda rows: rows(Note).datetimes("written_at", "day"),
    "distinct": lambda rows: rows(Note).values("text").distinct(),
    "first": lambda rows: rows(Note).order_by("-weight").first(),
    "last": lambda rows: rows(Note).order_by("weight").last(),
    "latest": lambda rows: rows(Note).latest("weight"),
    "earliest": lambda rows: rows(Note).earliest("-weight"),
    "slice": lambda rows: rows(Note).order_by("-weight")[:2],
    "index": lambda rows: rows(Note).order_by("-weight")[0],
    "filter": lambda rows: rows(Note).filter(text="secret"),
    "exclude": lambda rows: rows(Note).exclude(text="x"),
    "exclude or": lambda rows: rows(Note).exclude(Q(text="x") | Q(weight=7)),
    "exclude negated": lambda rows: rows(Note).exclude(~Q(text="secret")),
    "or": lambda rows: rows(Note).filter(Q(text="secret") | Q(weight__gt=0)),
    "xor": lambda rows: rows(Note).filter(Q(text="secret") ^ Q(weight__gt=0)),
    "negation": lambda rows: rows(Note).filter(~Q(weight=-1)),
    "join": lambda rows: rows(Note).filter(folder__name__startswith="s"),
    "join exclude": lambda rows: rows(Note).exclude(folder__name="x"),
    "join exclude many": lambda rows: rows(Folder).exclude(notes__text="x"),
    "join or null": lambda rows: rows(Note).filter(
        Q(folder__name="secret folder") | Q(folder__isnull=True)
    ),
    "reverse join": lambda rows: rows(Folder).filter(notes__weight__gt=0),
    "reverse join distinct": lambda rows: (
        rows(Folder).filter(notes__weight__gt=0).distinct()
    ),
    "reverse isnull": lambda rows: rows(Folder).filter(notes__isnull=True),
    "reverse exclude null": lambda rows: rows(Folder).exclude(notes=None),
    "reverse exclude key": lambda rows: rows(Folder).exclude(notes__pk=None),
    "forward then many exclude": lambda rows: rows(Note).exclude(folder__placings=None),
    "many then many exclude": lambda rows: rows(Project).exclude(tasks__labels=None),
    "global then many exclude": lambda rows: rows(Note).exclude(category__notes=None),
    "generic exclude null": lambda rows: rows(Note).exclude(remarks=None),
    "exclude F": lambda rows: rows(Folder).exclude(notes__text=F("name")),
    "exclude isnull": lambda rows: rows(Task).exclude(comments__isnull=True),
    "exclude outer": lambda rows: rows(Folder).filter(
        Exists(rows(Note).exclude(placings__folder=OuterRef("pk")))
    ),
    "self join": lambda rows: rows(Folder).filter(children__isnull=True),
    "self join up": lambda rows: rows(Folder).filter(parent__parent__isnull=True),
    "one to one": lambda rows: rows(Cover).filter(note__weight__gt=0),
    "one to one reverse": lambda rows: rows(Note).filter(cover__color__gt=""),
    "one to one null": lambda rows: rows(Note).filter(cover__isnull=True),
    "many to many": lambda rows: rows(Task).filter(labels__name__gt=""),
    "many to many reverse": lambda rows: rows(Label).filter(tasks__title__gt=""),
    "many to many exclude": lambda rows: rows(Task).exclude(labels__name="x"),
    "many to many self": lambda rows: rows(Task).filter(blocked_by__title__gt=""),
    "many to many through": lambda rows: rows(Note).filter(places__name__gt=""),
    "many to many in": lambda rows: rows(Task).filter(labels__in=rows(Label).all()),
    "many to many global": lambda rows: rows(Note).filter(readers__email__gt=""),
    "two joins": lambda rows: rows(Comment).filter(task__project__name__gt=""),
    "deep join": lambda rows: rows(Project).filter(
        tasks__comments__author__user__email__gt=""
    ),
    "through another organization's": lambda rows: rows(Note).filter(
        category__notes__text="secret"
    ),
    "through a user": lambda rows: rows(Note).filter(author__notes__weight__gt=0),
    "generic join": lambda rows: rows(Note).filter(remarks__text__gt=""),
    "generic join back": lambda rows: rows(Remark).filter(note__weight__gt=0),
    "generic count": lambda rows: rows(Note).annotate(n=Count("remarks")).values("n"),
    "select_related": lambda rows: [
        (str(note), str(note.folder), str(note.category))
        for note in rows(Note).select_related("folder", "category", "author")
    ],
    "select_related reverse": lambda rows: [
        (str(note), note.cover.color)
        for note in rows(Note).filter(cover__isnull=False).select_related("cover")
    ],
    "prefetch": lambda rows: [
        (str(folder), [str(note) for note in folder.notes.all()])
        for folder in rows(Folder).prefetch_related("notes", "children")
    ],
    "prefetch queryset": lambda rows: [
        (str(folder), [str(note) for note in folder.notes.all()])
        for folder in rows(Folder).prefetch_related(
            Prefetch("notes", queryset=rows(Note).order_by("-weight"))
        )
    ],
    "prefetch sliced": lambda rows: [
        (str(folder), [str(note) for note in folder.some])
        for folder in rows(Folder).prefetch_related(
            Prefetch(
                "notes", queryset=rows(Note).order_by("weight")[:2], to_attr="some"
            )
        )
    ],
    "prefetch many to many": lambda rows: [
        (str(task), [str(label) for label in task.labels.all()])
        for task in rows(Task).prefetch_related("labels", "blocked_by", "blocks")
    ],
    "prefetch generic": lambda rows: [
        (str(note), [str(remark) for remark in note.remarks.all()])
        for note in rows(Note).prefetch_related("remarks")
    ],
    "prefetch generic key": lambda rows: [
        (str(remark), str(remark.target))
        for remark in rows(Remark).prefetch_related("target")
    ],
    "prefetch through a global row": lambda rows: [
        (str(note), [str(other) for other in note.category.notes.all()])
        for note in rows(Note).prefetch_related("category__notes")
    ],
    "only": lambda rows: [note.text for note in rows(Note).only("code")],
    "defer": lambda rows: [note.weight for note in rows(Note).defer("weight")],
    "related": lambda rows: [str(note.folder) for note in rows(Note).all()],
    "annotate": lambda rows: (
        rows(Folder)
        .annotate(n=Count("notes"), w=Sum("notes__weight"))
        .values("name", "n", "w")
    ),
    "annotate join": lambda rows: (
        rows(Note).annotate(w=F("folder__notes__weight")).values("w")
    ),
    "annotate through a user": lambda rows: (
        rows(Note).annotate(n=Count("author__notes", distinct=True)).values("code", "n")
    ),
    "annotate case": lambda rows: (
        rows(Note)
        .annotate(
            k=Case(When(folder__name__gt="s", then=Value("b")), default=Value("a"))
        )
        .values("k")
    ),
    "annotate functions": lambda rows: (
        rows(Note)
        .annotate(k=Concat(Upper("code"), Coalesce("folder__name", Value("-"))))
        .annotate(n=Length("k"))
        .values("k", "n")
    ),
    "annotate wrapper": lambda rows: (
        rows(Note)
        .annotate(n=ExpressionWrapper(F("weight") * 2, output_field=IntegerField()))
        .values("n")
    ),
    "alias": lambda rows: rows(Folder).alias(n=Count("notes")).filter(n__gte=1),
    "having": lambda rows: (
        rows(Folder).annotate(n=Sum("notes__weight")).filter(n__gt=0).values("n")
    ),
    "having or": lambda rows: (
        rows(Folder)
        .annotate(n=Sum("notes__weight"))
        .filter(Q(n__gt=0) | Q(name="x"))
        .values("n")
    ),
    "group by": lambda rows: rows(Note).values("category").annotate(n=Count("pk")),
    "group by join": lambda rows: (
        rows(Note)
        .values("folder__name")
        .annotate(w=Sum("weight"))
        .order_by("folder__name")
    ),
    "group by date": lambda rows: (
        rows(Note)
        .annotate(y=TruncYear("written_at"))
        .values("y")
        .annotate(n=Count("pk"))
        .order_by("y")
    ),
    "filtered relation": lambda rows: (
        rows(Folder)
        .annotate(heavy=FilteredRelation("notes", condition=Q(notes__weight__gt=0)))
        .filter(heavy__isnull=False)
    ),
    "filtered relation select": lambda rows: (
        rows(Comment)
        .annotate(t=FilteredRelation("task", condition=Q(task__title__gt="")))
        .select_related("t")
        .values("t__title")
    ),
    "window": lambda rows: (
        rows(Note)
        .annotate(r=Window(Rank(), order_by=F("weight").desc()))
        .values("code", "r")
    ),
    "window sum": lambda rows: (
        rows(Note)
        .annotate(w=Window(Sum("weight"), partition_by=F("category")))
        .values("code", "w")
    ),
    "window filter": lambda rows: (
        rows(Note)
        .annotate(r=Window(RowNumber(), order_by=F("weight").desc()))
        .filter(r=1)
    ),
    "window join": lambda rows: (
        rows(Note)
        .annotate(r=Window(DenseRank(), order_by=F("folder__name").asc()))
        .values("code", "r")
    ),
    "in": lambda rows: rows(Note).filter(folder__in=rows(Folder).all()),
    "in values": lambda rows: rows(Note).filter(
        pk__in=rows(Note).filter(weight__gt=0).values("pk")
    ),
    "in slice": lambda rows: rows(Folder).filter(
        name__in=[folder.name for folder in rows(Folder).order_by("name")[:3]]
    ),
    "not in": lambda rows: rows(Note).exclude(folder__in=rows(Folder).filter(name="x")),
    "exact subquery": lambda rows: rows(Note).filter(
        folder=rows(Folder).order_by("-pk").values("pk")[:1]
    ),
    "subquery": lambda rows: (
        rows(Folder)
        .annotate(
            top=Subquery(
                rows(Note)
                .filter(folder=OuterRef("pk"))
                .order_by("-weight")
                .values("code")[:1]
            )
        )
        .values("name", "top")
    ),
    "subquery uncorrelated": lambda rows: (
        rows(Folder)
        .annotate(top=Subquery(rows(Note).order_by("-weight").values("weight")[:1]))
        .values("top")
    ),
    "subquery aggregate": lambda rows: (
        rows(Folder)
        .annotate(
            w=Subquery(
                rows(Note)
                .order_by()
                .values("category")
                .annotate(w=Sum("weight"))
                .values("w")[:1]
            )
        )
        .values("w")
    ),
    "subquery nested": lambda rows: (
        rows(Folder)
        .annotate(
            n=Subquery(
                rows(Note)
                .filter(pk__in=rows(Cover).filter(note__weight__gt=0).values("note"))
                .order_by("-weight")
                .values("weight")[:1]
            )
        )
        .values("n")
    ),
    "exists subquery": lambda rows: rows(Folder).filter(
        Exists(rows(Note).filter(weight__gt=50))
    ),
    "exists correlated": lambda rows: rows(Folder).filter(
        Exists(rows(Note).filter(folder=OuterRef("pk")))
    ),
    "not exists": lambda rows: rows(Folder).filter(
        ~Exists(rows(Note).filter(weight__gt=50))
    ),
    "exists or": lambda rows: rows(Folder).filter(
        Exists(rows(Note).filter(weight__gt=50)) | Q(name="x")
    ),
    "exists in case": lambda rows: (
        rows(Folder)
        .annotate(
            k=Case(When(Exists(rows(Note).filter(weight__gt=50)), then=1), default=0)
        )
        .values("k")
    ),
    "order by join": lambda rows: tuple(
        rows(Note).order_by("folder__name", "code").values_list("code", flat=True)
    ),
    "order by subquery": lambda rows: rows(Folder).order_by(
        Subquery(rows(Note).order_by("-weight").values("weight")[:1])
    ),
    "union": lambda rows: (
        rows(Note)
        .order_by()
        .filter(weight=1)
        .union(rows(Note).order_by().exclude(weight=1))
    ),
    "union all": lambda rows: (
        rows(Note)
        .order_by()
        .values_list("code")
        .union(rows(Folder).order_by().values_list("name"), all=True)
    ),
    "union count": lambda rows: (
        rows(Note).order_by().union(rows(Note).order_by()).count()
    ),
    "intersection": lambda rows: (
        rows(Note).order_by().intersection(rows(Note).order_by())
    ),
    "difference": lambda rows: (
        rows(Note).order_by().difference(rows(Note).order_by().filter(text="x"))
    ),
    "operator or": lambda rows: (
        rows(Note).filter(text="x") | rows(Note).filter(weight__gt=0)
    ),
    "operator and": lambda rows: (
        rows(Note).filter(weight__gt=0) & rows(Note).exclude(text="x")
    ),
    "operator xor": lambda rows: (
        rows(Note).filter(text="x") ^ rows(Note).filter(weight__gt=0)
    ),
    "operator or join": lambda rows: (
        rows(Note).filter(folder__name="x") | rows(Note).filter(cover__color__gt="")
    ),
    "json": lambda rows: rows(Note).filter(data__word="secret"),
    "json has": lambda rows: rows(Note).filter(data__has_key="word"),
    "json value": lambda rows: rows(Note).values_list("data__word", flat=True),
    "extra where": lambda rows: rows(Note).extra(where=["weight > %s"], params=[0]),
    "extra select": lambda rows: (
        rows(Note).extra(select={"one": "weight + 0"}).values("one")
    ),
    "reverse": lambda rows: tuple(map(str, rows(Note).order_by("code").reverse())),
    "chunks": lambda rows: list(rows(Note).iterator(chunk_size=1)),
    "chunks with prefetch": lambda rows: [
        [str(note) for note in folder.notes.all()]
        for folder in rows(Folder).prefetch_related("notes").iterator(chunk_size=1)
    ],
    "annotated again": lambda rows: (
        rows(Note)
        .annotate(n=Count("remarks"))
        .filter(n__gte=1)
        .annotate(m=Count("placings"))
        .values("n", "m")
    ),
    "aggregate over aggregate": lambda rows: (
        rows(Folder).annotate(n=Count("notes")).aggregate(Max("n"), Sum("n"))
    ),
    "own organization": lambda rows: rows(Note).values("organization__name"),
    "named as its table": lambda rows: (
        rows(Note)
        .values("folder")
        .annotate(notebook_note=Count("pk"))
        .filter(notebook_note__gte=1)
        .order_by("-notebook_note")
    ),
    "named as another table": lambda rows: (
        rows(Note)
        .annotate(
            notebook_folder=F("text"),
            tracker_task=FilteredRelation("folder", condition=Q(folder__name__gt="")),
        )
        .order_by("notebook_folder")
        .values("notebook_folder", "tracker_task__name")
    ),
}

# From a global model: what is joined or looked up is the scope's.
GLOBAL_SHAPES: dict[str, Shape] = {
    "filter": lambda rows: User.objects.filter(notes__weight__gt=10),
    "filter member": lambda rows: User.objects.filter(memberships__role__key="owner"),
    "exclude": lambda rows: User.objects.exclude(notes__weight__gt=10),
    "exclude null": lambda rows: User.objects.exclude(notes=None),
    "exclude deep": lambda rows: User.objects.exclude(notes__remarks=None),
    "exclude member": lambda rows: User.objects.exclude(memberships__tasks=None),
    "isnull": lambda rows: User.objects.filter(notes__isnull=True),
    "count": lambda rows: User.objects.annotate(n=Count("notes")).values("email", "n"),
    "sum": lambda rows: User.objects.aggregate(n=Sum("notes__weight")),
    "order": lambda rows: tuple(
        User.objects.annotate(w=Sum("notes__weight"))
        .order_by(F("w").desc(nulls_last=True), "email")
        .values_list("email", "w")
    ),
    "order by relation": lambda rows: Category.objects.order_by(
        "notes__weight"
    ).values_list("name", "notes__code"),
    "values": lambda rows: Category.objects.values("notes__text"),
    "group by": lambda rows: Category.objects.values("notes__text").annotate(
        n=Count("notes")
    ),
    "many to many": lambda rows: User.objects.filter(readable__weight__gt=0),
    "prefetch": lambda rows: [
        [str(note) for note in category.notes.all()]
        for category in Category.objects.prefetch_related("notes")
    ],
    "prefetch users": lambda rows: [
        (str(user), [str(note) for note in user.notes.all()])
        for user in User.objects.prefetch_related("notes", "readable", "memberships")
    ],
    "related manager": lambda rows: [
        str(note) for note in Category.objects.get().notes.all()
    ],
    "bookmarked": lambda rows: [
        str(mark.task.title)
        for mark in Bookmark.objects.filter(task__isnull=False).select_related("task")
        if hasattr(mark, "task") and mark.task is not None
    ],
    "bookmark filter": lambda rows: Bookmark.objects.filter(task__title__gt=""),
    "bookmark values": lambda rows: Bookmark.objects.exclude(
        task__title=None
    ).values_list("task__title"),
    "bookmark exclude many": lambda rows: Bookmark.objects.filter(
        task__title__gt=""
    ).exclude(task__comments=None),
    "pin exclude many": lambda rows: Pin.objects.filter(note__weight__gt=0).exclude(
        note__placings__shelf=None
    ),
    "pin exclude nullable": lambda rows: Pin.objects.exclude(note__folder__notes=None),
    "pin exclude later": lambda rows: User.objects.exclude(pins__note__friends=None),
    "pin": lambda rows: Pin.objects.filter(note__weight__gt=0),
    "pin count": lambda rows: Pin.objects.filter(note__weight__gt=0).count(),
    "subquery": lambda rows: User.objects.filter(
        pk__in=rows(Note).filter(weight__gt=0).values("author")
    ),
    "annotated subquery": lambda rows: User.objects.annotate(
        n=Subquery(
            rows(Note)
            .filter(author=OuterRef("pk"))
            .order_by("-weight")
            .values("weight")[:1]
        )
    ).values("email", "n"),
    "exists": lambda rows: User.objects.filter(
        Exists(rows(Note).filter(author=OuterRef("pk")))
    ),
    "not exists": lambda rows: User.objects.filter(
        ~Exists(rows(Note).filter(author=OuterRef("pk")))
    ),
    "in": lambda rows: Category.objects.filter(notes__in=rows(Note).all()),
    "union": lambda rows: Category.objects.values_list("name").union(
        rows(Note).order_by().values_list("code")
    ),
    "filtered relation": lambda rows: Category.objects.annotate(
        heavy=FilteredRelation("notes", condition=Q(notes__weight__gt=10))
    ).values("heavy__code"),
    "named as a table": lambda rows: (
        Category.objects.annotate(
            notebook_note=FilteredRelation("notes", condition=Q(notes__weight__gt=10)),
            tracker_task=Count("notes__placings"),
        )
        .filter(tracker_task__gte=0)
        .order_by("-tracker_task")
        .values("notebook_note__code", "tracker_task")
    ),
    "window": lambda rows: Category.objects.annotate(
        w=Window(Sum("notes__weight"))
    ).values("w"),
}


def plain(value: Any) -> Any:
    """Return what a shape returned in a form that can be compared.

    A tuple keeps its order; rows of a list or a queryset are sorted, since no database
    promises one without ORDER BY.
    """
    if isinstance(value, tuple):
        return tuple(plain(one) for one in value)
    if isinstance(value, dict):
        return sorted((str(key), repr(plain(one))) for key, one in value.items())
    if hasattr(value, "_meta"):
        return (value._meta.label, str(value.pk), str(value))
    if isinstance(value, (str, bytes, int, float)) or not hasattr(value, "__iter__"):
        return value
    return sorted((plain(one) for one in value), key=repr)

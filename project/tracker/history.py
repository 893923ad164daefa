"""What happened before the demo begins: who came and went, and what was paid."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import models

from project.tracker.identifiers import make_digest, make_id
from project.tracker.vocabulary import BROWSERS, PURCHASES, TEAMS
from tenancy.models import (
    Account,
    AuditEvent,
    BillingEvent,
    Domain,
    Invitation,
    Membership,
    Organization,
    Plan,
    Purchase,
    Session,
    Subscription,
    SystemEvent,
    Team,
    TeamMembership,
    User,
    Verification,
)
from tenancy.models.user import EMAIL_PURPOSE

AGE = timedelta(days=420)
"""How long ago the first organization was founded."""

DAY = timedelta(days=1)
PROVIDER = "stripe"


@dataclass(frozen=True)
class Offer:
    """A plan of the demo.

    Args:
        amount (int): for a month, in cents.
    """

    key: str
    name: str
    amount: int
    limits: dict[str, int | None]


OFFERS = (
    Offer("starter", "Starter", 900, {"members": 8, "teams": 3, "domains": 1}),
    Offer("team", "Team", 2900, {"members": 20, "teams": 10, "domains": 5}),
    Offer("business", "Business", 9900, {"members": 200, "teams": None}),
)


def make_plans(source: random.Random, now: datetime) -> list[Plan]:
    """Make what organizations can subscribe to, the smallest plan first."""
    plans = [
        Plan(
            id=make_id(source),
            key=offer.key,
            name=offer.name,
            limits=offer.limits,
            prices={
                "month": {"EUR": offer.amount},
                "year": {"EUR": offer.amount * 10},
            },
            trial_days=30,
            created_at=now - AGE,
            updated_at=now - AGE,
        )
        for offer in OFFERS
    ]
    return Plan.objects.bulk_create(plans)


def trace_people(source: random.Random, users: Sequence[User], now: datetime) -> None:
    """Make what users have of their own, whichever organizations they are in."""
    linked = [user for user in users if source.random() < 0.4]
    Account.objects.bulk_create(
        Account(
            id=make_id(source),
            user=user,
            provider=source.choice(["github", "google"]),
            provider_account_id=str(source.randrange(10**7, 10**8)),
            scopes=["openid", "email"],
            created_at=user.created_at,
            updated_at=user.created_at,
        )
        for user in linked
    )
    Verification.objects.bulk_create(
        Verification(
            id=make_id(source),
            purpose=EMAIL_PURPOSE,
            identifier=user.email,
            value_digest=make_digest(source),
            created_at=now - DAY / 4,
            updated_at=now - DAY / 4,
            expires_at=now + DAY,
        )
        for user in users
        if user.email_verified_at is None
    )
    SystemEvent.objects.bulk_create(
        SystemEvent(
            id=make_id(source),
            occurred_at=user.created_at,
            action="account.linked",
            actor_key=str(user.pk),
            subject_type=User._meta.label_lower,
            subject_key=str(user.pk),
        )
        for user in linked
    )


class History:
    """The past of one organization, made in its scope.

    Args:
        members (Sequence[Membership]): the live ones, the owner first.
        former (Sequence[User]): who has left.
        number (int): the how manyeth organization it is, from 0.
    """

    def __init__(
        self,
        source: random.Random,
        organization: Organization,
        *,
        members: Sequence[Membership],
        former: Sequence[User],
        number: int,
        now: datetime,
    ) -> None:
        self.source = source
        self.organization = organization
        self.members = members
        self.former = former
        self.number = number
        self.now = now
        self.owner = members[0].user
        self.events: list[AuditEvent] = []

    def fill(self, plans: Sequence[Plan]) -> None:
        """Make all of it, and the trail of it."""
        founded = self.organization.created_at
        self._tell(founded, "organization.created", self.organization)
        self._tell_of_members()
        self._make_leavers()
        self._make_invitations()
        self._make_teams()
        self._make_domains()
        self._make_subscriptions(plans)
        self._make_purchases()
        self._make_sessions()
        AuditEvent.objects.bulk_create(self.events)

    def _tell(
        self,
        at: datetime,
        action: str,
        target: models.Model,
        *,
        actor: Any = None,  # Any: a user; None for the owner.
        **details: object,
    ) -> None:
        """Write down what was done, by the owner where nobody else is named."""
        self.events.append(
            AuditEvent(
                id=make_id(self.source),
                occurred_at=at,
                action=action,
                actor_key=str((actor or self.owner).pk),
                target_type=target._meta.label_lower,
                target_key=str(target.pk),
                ip_address=self._pick_address(),
                details=details,
            )
        )

    # People

    def _tell_of_members(self) -> None:
        for member in self.members:
            self._tell(
                member.created_at,
                "membership.added",
                member,
                user=str(member.user_id),
                role=member.role.key,
            )

    def _make_leavers(self) -> None:
        role = next(each.role for each in self.members if each.role.key == "member")
        leavers = []
        for user in self.former:
            came = self._pick_time(
                self.organization.created_at, until=self.now - 20 * DAY
            )
            leavers.append(
                Membership(
                    id=make_id(self.source),
                    user=user,
                    role=role,
                    created_at=came,
                    updated_at=came,
                    ended_at=self._pick_time(came + DAY),
                )
            )
        for left in Membership.objects.bulk_create(leavers):
            known: dict[str, object] = {"user": str(left.user_id)}
            self._tell(left.created_at, "membership.added", left, **known)
            if left.ended_at is not None:
                self._tell(left.ended_at, "membership.ended", left, **known)

    def _make_invitations(self) -> None:
        accepted = [self._invite(member) for member in self.members[1:]]
        invitations = Invitation.objects.bulk_create([*accepted, *self._list_open()])
        for invitation in invitations:
            role = invitation.role.key
            self._tell(invitation.created_at, "invitation.sent", invitation, role=role)
            if invitation.answered_at is not None:
                self._tell(
                    invitation.answered_at,
                    f"invitation.{invitation.status}",
                    invitation,
                    actor=invitation.answered_by,
                    role=role,
                )

    def _invite(self, member: Membership) -> Invitation:
        """Return the invitation that a member accepted."""
        return self._make_invitation(
            email=member.user.email,
            role=member.role,
            created_at=member.created_at - self.source.randrange(1, 72) * DAY / 24,
            status="accepted",
            answered_by=member.user,
            answered_by_name=member.user.name,
            answered_at=member.created_at,
        )

    def _list_open(self) -> Iterator[Invitation]:
        """Yield what nobody accepted, one of each kind; two wait for an answer."""
        role = self.members[1].role
        host = f"{self.organization.slug}.example"
        waiting = self.now - timedelta(hours=30)
        yield self._make_invitation(
            email=f"yara.novak@{host}", role=role, created_at=waiting
        )
        yield self._make_invitation(email=None, role=role, created_at=waiting + DAY / 2)
        for status, name in (
            ("declined", "ravi"),
            ("revoked", "sofia"),
            ("expired", "teo"),
        ):
            sent = self._pick_time(self.now - 90 * DAY, until=self.now - 15 * DAY)
            yield self._make_invitation(
                email=f"{name}@{host}",
                role=role,
                created_at=sent,
                status=status,
                answered_at=sent + (7 if status == "expired" else 2) * DAY,
            )

    def _make_invitation(self, *, created_at: datetime, **fields: Any) -> Invitation:
        return Invitation(
            id=make_id(self.source),
            token_digest=make_digest(self.source),
            invited_by=self.owner,
            invited_by_name=self.owner.name,
            created_at=created_at,
            updated_at=fields.get("answered_at") or created_at,
            expires_at=created_at + 7 * DAY,
            **fields,
        )

    def _make_teams(self) -> None:
        made_at = self.organization.created_at + DAY
        teams = [
            Team(
                id=make_id(self.source),
                name=name,
                description=description,
                created_at=made_at,
                updated_at=made_at,
            )
            for name, description in TEAMS
        ]
        Team.objects.bulk_create(teams)
        links = []
        for team in teams:
            self._tell(made_at, "team.created", team, name=team.name)
            size = min(3, len(self.members))
            for member in self.source.sample(self.members, size):
                joined = max(made_at, member.created_at) + DAY / 2
                links.append(
                    TeamMembership(
                        id=make_id(self.source),
                        team=team,
                        membership=member,
                        created_at=joined,
                        updated_at=joined,
                    )
                )
                self._tell(
                    joined,
                    "team.joined",
                    team,
                    name=team.name,
                    user=str(member.user_id),
                )
        TeamMembership.objects.bulk_create(links)

    # Domains and devices

    def _make_domains(self) -> None:
        slug = self.organization.slug
        added = self.organization.created_at + 30 * DAY
        checked = self.now - timedelta(minutes=20)
        proved = Domain(
            id=make_id(self.source),
            host=f"tasks.{slug}.example",
            token=make_digest(self.source),
            verified_at=added + DAY / 24,
            verified_host=f"tasks.{slug}.example",
            checked_at=checked,
            finding="found",
            created_at=added,
            updated_at=checked,
        )
        claimed = Domain(
            id=make_id(self.source),
            host=f"help.{slug}.example",
            token=make_digest(self.source),
            created_at=self.now - 2 * DAY,
            updated_at=self.now - 2 * DAY,
        )
        for domain in Domain.objects.bulk_create([proved, claimed]):
            self._tell(domain.created_at, "domain.added", domain, host=domain.host)
        self._tell(
            added + DAY / 24,
            "domain.verified",
            proved,
            host=proved.host,
            finding="found",
        )

    def _make_sessions(self) -> None:
        """Make devices, whose keys nobody has: each a digest of nothing."""
        sessions = []
        for member in self.members:
            for browser in self.source.sample(BROWSERS, self.source.choice([1, 1, 2])):
                seen = self.now - timedelta(minutes=self.source.randrange(5, 8000))
                ended = self.source.random() < 0.2
                begun = max(seen - 9 * DAY, member.created_at)
                seen = max(seen, begun)
                sessions.append(
                    Session(
                        id=make_id(self.source),
                        key_digest=make_digest(self.source),
                        user=member.user,
                        membership=None if ended else member,
                        ip_address=self._pick_address(),
                        user_agent=browser,
                        created_at=begun,
                        updated_at=seen,
                        last_seen_at=seen,
                        expires_at=seen + 7 * DAY,
                        revoked_at=seen if ended else None,
                        end_reason="ended" if ended else "",
                    )
                )
        Session.objects.bulk_create(sessions)

    # Billing

    def _make_subscriptions(self, plans: Sequence[Plan]) -> None:
        """Make one that has ended, and the one that took its place."""
        small, plan = plans[0], plans[1 + self.number % (len(plans) - 1)]
        founded = self.organization.created_at
        switched = founded + 150 * DAY
        first = self._make_subscription(
            small,
            status="canceled",
            created_at=founded,
            current_period_start=switched - 30 * DAY,
            current_period_end=switched,
            trial_start=founded,
            trial_end=founded + 30 * DAY,
            cancel_at=switched,
            canceled_at=switched - 10 * DAY,
            ended_at=switched,
        )
        renewed = switched + (self.now - switched) // (30 * DAY) * (30 * DAY)
        second = self._make_subscription(
            plan,
            status="past_due" if self.number % 5 == 4 else "active",
            created_at=switched,
            current_period_start=renewed,
            current_period_end=renewed + 30 * DAY,
            seats=len(self.members),
        )
        Subscription.objects.bulk_create([first, second])
        for row in (first, second):
            self._tell(
                row.created_at, "subscription.started", row, status=str(row.status)
            )
        self._tell(switched, "subscription.ended", first, status="canceled")
        self._make_billing_events(second)

    def _make_subscription(
        self, plan: Plan, *, created_at: datetime, **fields: Any
    ) -> Subscription:
        return Subscription(
            id=make_id(self.source),
            plan=plan,
            product=plan.product,
            provider=PROVIDER,
            provider_customer_id=self.organization.billing_customer_id or "",
            provider_subscription_id=f"sub_{self.source.getrandbits(64):016x}",
            created_at=created_at,
            updated_at=fields.get("ended_at") or self.now - DAY,
            **fields,
        )

    def _make_billing_events(self, subscription: Subscription) -> None:
        failed = self.number % 2 == 1
        kinds = [
            ("customer.subscription.created", subscription.created_at, ""),
            (
                "customer.subscription.updated",
                subscription.current_period_start,
                "LimitReached: the seats are fewer than the members." if failed else "",
            ),
        ]
        BillingEvent.objects.bulk_create(
            BillingEvent(
                id=make_id(self.source),
                provider=PROVIDER,
                event_id=f"evt_{self.source.getrandbits(64):016x}",
                type=kind,
                customer_id=self.organization.billing_customer_id or "",
                payload={"type": kind, "livemode": False},
                occurred_at=at,
                received_at=at,
                status="failed" if error else "applied",
                attempts=3 if error else 1,
                error=error,
                settled_at=None if error else at + timedelta(seconds=1),
                created_at=at,
                updated_at=at,
            )
            for kind, at, error in kinds
        )

    def _make_purchases(self) -> None:
        purchases = []
        for description, amount in self.source.sample(PURCHASES, 3):
            at = self._pick_time(self.organization.created_at + 30 * DAY)
            purchases.append(
                Purchase(
                    id=make_id(self.source),
                    description=description,
                    amount=amount,
                    currency="EUR",
                    provider=PROVIDER,
                    provider_payment_id=f"pi_{self.source.getrandbits(64):016x}",
                    purchased_at=at,
                    created_at=at,
                    updated_at=at,
                )
            )
        for purchase in Purchase.objects.bulk_create(purchases):
            self._tell(
                purchase.purchased_at,
                "purchase.recorded",
                purchase,
                amount=purchase.amount,
                currency=purchase.currency,
            )

    # What is picked

    def _pick_time(self, since: datetime, *, until: datetime | None = None) -> datetime:
        """Return a moment between two, the second of which is now by default."""
        minutes = ((until or self.now) - since) // timedelta(minutes=1)
        return since + timedelta(minutes=self.source.randrange(1, minutes))

    def _pick_address(self) -> str:
        # Of the net that RFC 5737 keeps for examples.
        return f"192.0.2.{self.source.randrange(1, 255)}"

"""The settings of the package, each read when it is needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from django.conf import settings
from django.urls import NoReverseMatch, reverse

DEFAULT_ORGANIZATION_MODEL = "tenancy.Organization"
DEFAULT_INVITATION_AGE = timedelta(days=7)
DEFAULT_RESOLVERS = ("tenancy.resolvers.SessionResolver",)
DEFAULT_RESERVED_SLUGS = frozenset(
    {
        "account",
        "accounts",
        "admin",
        "api",
        "app",
        "assets",
        "auth",
        "billing",
        "dashboard",
        "help",
        "invitations",
        "login",
        "logout",
        "mail",
        "media",
        "new",
        "organizations",
        "password",
        "public",
        "root",
        "settings",
        "signin",
        "signup",
        "static",
        "status",
        "support",
        "system",
        "tenancy",
        "user",
        "users",
        "www",
    }
)


def organization_model() -> str:
    """Return TENANCY_ORGANIZATION_MODEL, the label of the organization model.

    Type: str, "app_label.ModelName". Default: "tenancy.Organization". Like
    AUTH_USER_MODEL it is chosen before the first migration.
    """
    label: str = getattr(
        settings, "TENANCY_ORGANIZATION_MODEL", DEFAULT_ORGANIZATION_MODEL
    )
    return label


def reserved_slugs() -> Collection[str]:
    """Return TENANCY_RESERVED_SLUGS, the slugs that no organization may take.

    Type: a collection of lower-case str. Default: words that sites use for their
    own addresses, such as "admin" and "login".
    """
    slugs: Collection[str] = getattr(
        settings, "TENANCY_RESERVED_SLUGS", DEFAULT_RESERVED_SLUGS
    )
    return slugs


def database_aliases() -> Collection[str] | None:
    """Return TENANCY_DATABASES, the aliases that hold the same organizations.

    Type: a collection of aliases of DATABASES, or None for those to which the
    routers send reads and writes of the organization model. Default: None. A
    replica that the routers pick at random is named here.
    """
    aliases: Collection[str] | None = getattr(settings, "TENANCY_DATABASES", None)
    return aliases


def limits() -> Mapping[str, int | None]:
    """Return TENANCY_LIMITS, how many of a kind there may be where no plan says.

    Type: a dict of int, or None for no limit, by name: "members" (live members and
    pending invitations of an organization), "invitations" (pending ones of an
    organization), "teams" and "domains" (of an organization), "organizations" (of a
    user). Default: empty, no limit.
    """
    limits: Mapping[str, int | None] = getattr(settings, "TENANCY_LIMITS", {})
    return limits


# Accounts and verifications.


def encryption_keys() -> Sequence[str]:
    """Return TENANCY_ENCRYPTION_KEYS, the keys that accounts' tokens are kept with.

    Type: a list of keys of Fernet; the first encrypts, each opens. Default: empty, and
    the first use raises ImproperlyConfigured. A new key is put first; the old ones are
    taken out once 'rotate_account_keys' has run.
    """
    keys: Sequence[str] = getattr(settings, "TENANCY_ENCRYPTION_KEYS", ())
    return keys


def verification_age() -> timedelta:
    """Return TENANCY_VERIFICATION_AGE, how long a verification's token is valid.

    Type: timedelta. Default: one day.
    """
    age: timedelta = getattr(settings, "TENANCY_VERIFICATION_AGE", timedelta(days=1))
    return age


def password_reset_age() -> timedelta:
    """Return TENANCY_PASSWORD_RESET_AGE, how long a mailed link sets a password.

    Type: timedelta. Default: one hour.
    """
    age: timedelta = getattr(settings, "TENANCY_PASSWORD_RESET_AGE", timedelta(hours=1))
    return age


def code_age() -> timedelta:
    """Return TENANCY_CODE_AGE, how long a verification's short code is valid.

    Type: timedelta. Default: ten minutes.
    """
    age: timedelta = getattr(settings, "TENANCY_CODE_AGE", timedelta(minutes=10))
    return age


def code_length() -> int:
    """Return TENANCY_CODE_LENGTH, how many digits a short code has.

    Type: int, at least 4. Default: 6. With five tries, six digits are guessed by one
    in 200,000.
    """
    length: int = getattr(settings, "TENANCY_CODE_LENGTH", 6)
    return length


def invitation_age() -> timedelta:
    """Return TENANCY_INVITATION_AGE, how long an invitation can be accepted.

    Type: timedelta, positive. Default: seven days.
    """
    age: timedelta = getattr(settings, "TENANCY_INVITATION_AGE", DEFAULT_INVITATION_AGE)
    return age


def invitation_requires_verified_email() -> bool:
    """Return TENANCY_INVITATION_REQUIRES_VERIFIED_EMAIL, who may accept one.

    Whether only a user whose address is verified may. Type: bool. Default: False,
    since who holds the token that was mailed to an address reads its mail. Set it
    where the tokens of invitations are shown to those who invite.
    """
    is_required: bool = getattr(
        settings, "TENANCY_INVITATION_REQUIRES_VERIFIED_EMAIL", False
    )
    return is_required


def billing_handlers() -> Sequence[str]:
    """Return TENANCY_BILLING_HANDLERS, the modules that handle providers' events.

    Type: a list of dotted paths. Default: empty. Each is imported before the first
    event is applied, so that commands know the handlers as the web server does.
    """
    modules: Sequence[str] = getattr(settings, "TENANCY_BILLING_HANDLERS", ())
    return modules


def billing_secrets(provider: str) -> Sequence[str]:
    """Return a provider's of TENANCY_BILLING_SECRETS, which sign its events.

    Type: a dict of lists of str, by the provider's name. Default: empty, no event is
    accepted. While a secret is being changed for another, both are named.
    """
    secrets: Mapping[str, Sequence[str]] = getattr(
        settings, "TENANCY_BILLING_SECRETS", {}
    )
    return secrets.get(provider, ())


def reuse_slugs() -> bool:
    """Return TENANCY_REUSE_SLUGS, whether a slug that is free again is given away.

    Type: bool. Default: False: a slug that an organization has or had, be it archived
    or deleted, is never another's, so that an old address leads to nobody else. True:
    only the slugs of living organizations are taken.
    """
    return bool(getattr(settings, "TENANCY_REUSE_SLUGS", False))


# Members


def member_permissions() -> Collection[str] | None:
    """Return TENANCY_MEMBER_PERMISSIONS, what the built-in role "member" grants.

    Type: a collection of str, "app_label.codename" of tenant models, or None for the
    permission to view each tenant model of the project, and none of the package's own.
    Default: None. What no role can grant is passed over.
    """
    permissions: Collection[str] | None = getattr(
        settings, "TENANCY_MEMBER_PERMISSIONS", None
    )
    return permissions


# Sessions


def session_update_age() -> timedelta:
    """Return TENANCY_SESSION_UPDATE_AGE, how old an expiry is before it slides.

    A session that is used is prolonged to its whole age again once this has gone by
    since it last was. Type: timedelta. Default: one day. For a session of less than
    seven times that, a seventh of its age.
    """
    age: timedelta = getattr(settings, "TENANCY_SESSION_UPDATE_AGE", timedelta(days=1))
    return age


def impersonation_age() -> timedelta:
    """Return TENANCY_IMPERSONATION_AGE, after which an impersonation ends.

    Type: timedelta. Default: one hour.
    """
    age: timedelta = getattr(settings, "TENANCY_IMPERSONATION_AGE", timedelta(hours=1))
    return age


# Requests


def resolvers() -> Sequence[str]:
    """Return TENANCY_RESOLVERS, what tells a request's organization, in this order.

    Type: a list of dotted names of Resolver classes. Default: the session's active
    membership alone. Where two tell different organizations, the answer is 404.
    """
    names: Sequence[str] = getattr(settings, "TENANCY_RESOLVERS", DEFAULT_RESOLVERS)
    return names


def base_domain() -> str | None:
    """Return TENANCY_BASE_DOMAIN, under which each organization has a subdomain.

    Type: str, such as "example.com", without a port. Default: None. SubdomainResolver
    needs it, and so does DomainResolver: no organization has it, or one below it, as a
    domain of its own.
    """
    domain: str | None = getattr(settings, "TENANCY_BASE_DOMAIN", None)
    return domain


def path_prefix() -> str:
    """Return TENANCY_PATH_PREFIX, which stands before an organization's slug in paths.

    Type: str, one segment of a path. Default: "o", as in "/o/acme/". For PathResolver.
    """
    prefix: str = getattr(settings, "TENANCY_PATH_PREFIX", "o")
    return prefix


def organization_header() -> str:
    """Return TENANCY_ORGANIZATION_HEADER, the header in which a gateway names the slug.

    Type: str. Default: "X-Organization". For HeaderResolver.
    """
    name: str = getattr(settings, "TENANCY_ORGANIZATION_HEADER", "X-Organization")
    return name


# Domains


def dns_servers() -> Sequence[str]:
    """Return TENANCY_DNS_SERVERS, which are asked for the records of domains.

    Type: a list of IP addresses, each with a port where that is not 53, as in
    "192.0.2.53:5353" and "[2001:db8::53]:5353". Default: empty, those that the system
    is set up with.
    """
    servers: Sequence[str] = getattr(settings, "TENANCY_DNS_SERVERS", ())
    return servers


def dns_timeout() -> timedelta:
    """Return TENANCY_DNS_TIMEOUT, how long a look-up of a record may take in all.

    Type: timedelta. Default: five seconds. Whoever verifies a domain waits for it.
    """
    timeout: timedelta = getattr(settings, "TENANCY_DNS_TIMEOUT", timedelta(seconds=5))
    return timeout


def domain_record() -> str:
    """Return TENANCY_DOMAIN_RECORD, the label before a domain in its record's name.

    Type: str. Default: "_tenancy-challenge", as in _tenancy-challenge.example.com. It
    begins with an underscore, so that it is no host's name. Another one makes every
    domain fail until its record is renamed.
    """
    label: str = getattr(settings, "TENANCY_DOMAIN_RECORD", "_tenancy-challenge")
    return label


def domain_grace() -> timedelta:
    """Return TENANCY_DOMAIN_GRACE, how long a verified domain's record may be missing.

    The command 'recheck_domains' withdraws the verification after it. Type: timedelta.
    Default: three days.
    """
    grace: timedelta = getattr(settings, "TENANCY_DOMAIN_GRACE", timedelta(days=3))
    return grace


def choice_url() -> str | None:
    """Return TENANCY_CHOICE_URL, where a user without an organization is sent.

    By organization_required() and what builds on it. Type: str, an address or the name
    of one, or None for the answer 403. Default: the page "Your organizations" where
    tenancy.urls is included, else None.
    """
    try:
        own: str | None = reverse("tenancy:organization-list")
    except NoReverseMatch:
        own = None
    url: str | None = getattr(settings, "TENANCY_CHOICE_URL", own)
    return url


# Pages


def sign_in_attempts() -> int:
    """Return TENANCY_SIGN_IN_ATTEMPTS, how many failed sign-ins are let pass.

    From one IP address for one e-mail address, in one period; five
    times as many for an e-mail address from anywhere, and from an IP address for any.
    Type: int. Default: 10. They are counted in the cache "default", which is to
    increment atomically, as Redis and Memcached do.
    """
    attempts: int = getattr(settings, "TENANCY_SIGN_IN_ATTEMPTS", 10)
    return attempts


def sign_in_period() -> timedelta:
    """Return TENANCY_SIGN_IN_PERIOD, after which failed sign-ins are forgotten.

    Type: timedelta. Default: 15 minutes.
    """
    period: timedelta = getattr(
        settings, "TENANCY_SIGN_IN_PERIOD", timedelta(minutes=15)
    )
    return period


def sign_up_requires_verified_email() -> bool:
    """Return TENANCY_SIGN_UP_REQUIRES_VERIFIED_EMAIL, when an account is made.

    Whether only once a link was followed that is mailed to the address. Type: bool.
    Default: False: who signs up is signed in at once, and an address that has an
    account is refused, which tells that it has one. True: every address is answered
    alike, and what there is to tell is in the mail.
    """
    is_required: bool = getattr(
        settings, "TENANCY_SIGN_UP_REQUIRES_VERIFIED_EMAIL", False
    )
    return is_required

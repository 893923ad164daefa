"""The forms of the pages; their choices are the scope's."""

from __future__ import annotations

from typing import Any

from django import forms
from django.apps import apps
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import get_user_model, password_validation
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from tenancy import conf
from tenancy.attempts import return_attempt, sign_in_limits, take_attempt
from tenancy.hosts import normalize_host
from tenancy.models import Membership, Role, Team
from tenancy.provenance import OrganizationFormMixin
from tenancy.refusals import add_refusal
from tenancy.sessions import find_ip_address

RULING = (Role.BuiltIn.OWNER.value, Role.BuiltIn.ADMIN.value)


class RoleChoiceField(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """A choice of roles, by their names."""

    def label_from_instance(self, obj: Role) -> str:
        """Return the name, which a built-in role has in lower case."""
        return str(capfirst(obj.name))


class MemberChoiceField(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """A choice of members, by their users."""

    def label_from_instance(self, obj: Membership) -> str:
        """Return the name of the user, and the address where that is another."""
        name, address = name_user(obj.user), str(obj.user)
        return name if name == address else f"{name} ({address})"


def name_user(user: Any) -> str:
    """Return what a user is called; not every user model has a full name."""
    full_name = user.get_full_name() if hasattr(user, "get_full_name") else ""
    return str(full_name or user)


def list_roles(membership: Membership) -> list[Role]:
    """Return the roles that a member may give."""
    return [role for role in Role.objects.all() if membership.role.outranks(role)]


def list_members() -> Any:  # A queryset of memberships.
    """Return the live members of the scope's organization, with user and role."""
    members = Membership.objects.live().select_related("user", "role")
    return members.order_by("created_at", "pk")


class _RoleForm(forms.Form):
    """A form in which a member gives a role that they hold."""

    role = RoleChoiceField(Role.objects.none(), label=_("Role"), empty_label=None)

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allowed = [role for role in list_roles(membership) if self.allows(role)]
        field: Any = self.fields["role"]
        field.queryset = Role.objects.filter(pk__in=[role.pk for role in allowed])
        members = [role for role in allowed if role.key == Role.BuiltIn.MEMBER.value]
        field.initial = members[0] if members else None

    def allows(self, role: Role) -> bool:
        """Return whether the form gives a role."""
        return True


class EmailInvitationForm(_RoleForm):
    """Whom to invite, and as what."""

    email = forms.EmailField(
        label=_("E-mail address"),
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    field_order = ["email", "role"]


class LinkInvitationForm(_RoleForm):
    """As what whoever has the link is invited."""

    def allows(self, role: Role) -> bool:
        """Return whether a link may give the role: none that rules."""
        return role.key not in RULING


class MemberRoleForm(_RoleForm):
    """The role that a member is to have."""


class SignInForm(AuthenticationForm):
    """Address and password, as often as is let pass.

    Whether it was refused for that, ``is_throttled`` tells.
    """

    is_throttled = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["username"]
        model: Any = get_user_model()
        if model.get_email_field_name() == model.USERNAME_FIELD:
            # A browser lets nothing but an address into it.
            field.widget = forms.EmailInput(attrs=field.widget.attrs)
        field.widget.attrs |= {"autocomplete": "username", "autofocus": True}

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        """Count the try, and then look at the password."""
        address = self.cleaned_data.get("username")
        ip_address = find_ip_address(self.request) if self.request else None
        if not address or not self.cleaned_data.get("password"):
            return super().clean()
        limits = sign_in_limits(address, ip_address)
        if not take_attempt(limits):
            self.is_throttled = True
            raise ValidationError(
                _("Too many failed sign-ins. Wait a few minutes, and try again."),
                code="throttled",
            )
        cleaned = super().clean()
        return_attempt(limits)
        return cleaned


class AdminSignInForm(SignInForm, AdminAuthenticationForm):
    """The same for the admin's page: ``admin.site.login_form = AdminSignInForm``."""


class AddressForm(forms.Form):
    """Where to send a mail."""

    email = forms.EmailField(
        label=_("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username"}),
    )


class EmailForm(AddressForm):
    """Another address of the user's own, confirmed by the password where there is one.

    The address signs in: an unattended browser is not enough to take it over.
    """

    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        if not has_password(user):
            del self.fields["password"]

    @sensitive_variables()
    def clean_password(self) -> str:
        """Refuse every other password."""
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise ValidationError(_("This is not your password."), code="mismatch")
        return password


def has_password(user: Any) -> bool:
    """Return whether the user can sign in by password."""
    # An empty password is a usable one to Django, and opens nothing.
    return bool(user.password) and bool(user.has_usable_password())


def find_names() -> list[str]:
    """Return the fields in which the user model keeps what a user is called."""
    fields = {field.name for field in get_user_model()._meta.get_fields()}
    return [name for name in ("name", "first_name", "last_name") if name in fields]


class NameForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """What the user is called."""

    class Meta:
        model = get_user_model()
        fields = find_names()
        widgets = {
            name: forms.TextInput(attrs={"autocomplete": word})
            for name, word in (
                ("name", "name"),
                ("first_name", "given-name"),
                ("last_name", "family-name"),
            )
        }


class SignUpForm(forms.Form):
    """A new user, and the organization that they make unless they are invited.

    An address that was verified before is not asked for.
    """

    name = forms.CharField(
        label=_("Your name"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    email = forms.EmailField(
        label=_("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username"}),
    )
    organization_name = forms.CharField(
        label=_("Name of your organization"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    password1 = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=password_validation.password_validators_help_text_html(),
    )
    password2 = forms.CharField(
        label=_("Password again"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(
        self,
        *args: Any,
        is_invited: bool,
        verified_email: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if is_invited:
            del self.fields["organization_name"]
        if verified_email is not None:
            del self.fields["email"]
        self.verified_email = verified_email
        self.user = self._make_user()

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        """Validate the user that is to be, with the password."""
        cleaned = super().clean() or {}
        email = self.verified_email or cleaned.get("email")
        if email is None:
            return cleaned
        self.user = self._make_user(email, cleaned.get("name", ""))
        try:
            self.user.full_clean(exclude=["password"])
        except ValidationError as error:
            known = "name", self.user.EMAIL_FIELD, self.user.USERNAME_FIELD
            add_refusal(
                self,
                ValidationError(
                    {
                        "name" if name == "name" else "email": errors
                        for name, errors in error.error_dict.items()
                        if name in known
                    }
                ),
            )
        password = cleaned.get("password1")
        if password and password != cleaned.get("password2"):
            message = _("The two passwords are not the same.")
            self.add_error("password2", ValidationError(message, code="mismatch"))
        elif password:
            try:
                password_validation.validate_password(password, self.user)
            except ValidationError as error:
                self.add_error("password1", error)
        return cleaned

    def save(self) -> Any:
        """Save the user."""
        if self.verified_email is not None and hasattr(self.user, "email_verified_at"):
            self.user.email_verified_at = timezone.now()
        self.user.set_password(self.cleaned_data["password1"])
        self.user.save()
        return self.user

    def _make_user(self, email: str = "", name: str = "") -> Any:
        model: Any = get_user_model()
        fields = {field.name for field in model._meta.get_fields()}
        names = dict.fromkeys({"name"} & fields, name)
        if not names and {"first_name", "last_name"} <= fields:
            first, _space, last = name.partition(" ")
            names = {"first_name": first, "last_name": last}
        return model(**{model.USERNAME_FIELD: email, model.EMAIL_FIELD: email}, **names)


class NewOrganizationForm(forms.Form):
    """An organization whose owner will be who makes it."""

    name = forms.CharField(
        label=_("Name of the organization"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )


class OrganizationForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """What an organization is called, and its address."""

    class Meta:
        model = apps.get_model(conf.organization_model())
        fields = ["name", "slug", "logo"]
        help_texts = {
            "slug": _("Part of addresses: small letters, digits and hyphens."),
            "logo": _("The https address of a picture."),
        }


class DeleteOrganizationForm(forms.Form):
    """The question before an organization is deleted: its slug, typed."""

    slug = forms.CharField(
        label=_("Type the organization's slug to confirm"),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, expected: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.expected = expected

    def clean_slug(self) -> str:
        """Refuse every other text."""
        slug: str = self.cleaned_data["slug"]
        if slug != self.expected:
            raise ValidationError(
                _("This is not the organization's slug."), code="mismatch"
            )
        return slug


class RestoreForm(forms.Form):
    """The slug of an organization that is restored: another may have its own by now."""

    slug = forms.SlugField(
        label=_("Slug"),
        max_length=63,
        help_text=_("Part of addresses: small letters, digits and hyphens."),
    )


class TransferForm(forms.Form):
    """Who is to own the organization."""

    to = MemberChoiceField(Membership.objects.none(), label=_("New owner"))

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["to"]
        field.queryset = list_members().exclude(pk=membership.pk)


class DomainForm(forms.Form):
    """A domain at which the organization wants to be reached."""

    host = forms.CharField(
        label=_("Domain"),
        max_length=253,
        help_text=_("As in “tasks.example.com”."),
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "inputmode": "url"}
        ),
    )

    def clean_host(self) -> str:
        """Return the domain as it is kept."""
        return normalize_host(self.cleaned_data["host"])


class TeamForm(OrganizationFormMixin):
    """A team's name, and what it is for."""

    name = forms.CharField(label=_("Name"), max_length=100)
    description = forms.CharField(
        label=_("Description"), max_length=500, required=False
    )


class TeamMemberForm(forms.Form):
    """Whom to put into a team."""

    member = MemberChoiceField(Membership.objects.none(), label=_("Member"))

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["member"]
        field.queryset = list_members().exclude(team_memberships__team=team)

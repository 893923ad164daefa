"""The addresses of the pages: path("", include("tenancy.urls"))."""

from __future__ import annotations

from django.urls import path

from tenancy.views import (
    account,
    devices,
    domains,
    invitations,
    members,
    organizations,
    passwords,
    people,
    sign_up,
    teams,
)

app_name = "tenancy"

urlpatterns = [
    path("sign-up/", sign_up.SignUpView.as_view(), name="sign-up"),
    path("sign-up/sent/", sign_up.SignUpSentView.as_view(), name="sign-up-sent"),
    # After those that are words: no token is one of them.
    path("sign-up/<str:token>/", sign_up.SignUpOpenView.as_view(), name="sign-up-open"),
    path("sign-in/", people.SignInView.as_view(), name="sign-in"),
    path("sign-out/", people.SignOutView.as_view(), name="sign-out"),
    path(
        "password/reset/",
        passwords.PasswordResetView.as_view(),
        name="password-reset",
    ),
    path(
        "password/reset/sent/",
        passwords.PasswordResetSentView.as_view(),
        name="password-reset-sent",
    ),
    path(
        "password/reset/new/",
        passwords.PasswordResetNewView.as_view(),
        name="password-reset-new",
    ),
    # As above.
    path(
        "password/reset/<str:token>/",
        passwords.PasswordResetOpenView.as_view(),
        name="password-reset-open",
    ),
    path("account/", account.AccountView.as_view(), name="account"),
    path("account/password/", account.PasswordView.as_view(), name="password"),
    path("account/name/", account.NameView.as_view(), name="name"),
    path("account/email/", account.VerificationView.as_view(), name="email-verify"),
    path(
        "account/email/send/",
        account.VerificationSendView.as_view(),
        name="email-send",
    ),
    path("account/email/change/", account.EmailView.as_view(), name="email-change"),
    # As above.
    path(
        "account/email/<str:token>/",
        account.VerificationOpenView.as_view(),
        name="email-open",
    ),
    path("devices/", devices.DeviceListView.as_view(), name="device-list"),
    path(
        "devices/end-others/",
        devices.DeviceEndOthersView.as_view(),
        name="device-end-others",
    ),
    path("devices/<uuid:pk>/end/", devices.DeviceEndView.as_view(), name="device-end"),
    path(
        "organizations/",
        organizations.OrganizationListView.as_view(),
        name="organization-list",
    ),
    path(
        "organizations/new/",
        organizations.OrganizationCreateView.as_view(),
        name="organization-create",
    ),
    path(
        "organizations/<str:pk>/restore/",
        organizations.RestoreView.as_view(),
        name="organization-restore",
    ),
    path("organizations/switch/", organizations.SwitchView.as_view(), name="switch"),
    path(
        "organization/",
        organizations.SettingsView.as_view(),
        name="organization-settings",
    ),
    path(
        "organization/danger/", organizations.DangerView.as_view(), name="danger-zone"
    ),
    path(
        "organization/transfer/",
        organizations.TransferView.as_view(),
        name="organization-transfer",
    ),
    path(
        "organization/archive/",
        organizations.ArchiveView.as_view(),
        name="organization-archive",
    ),
    path("organization/domains/", domains.DomainListView.as_view(), name="domain-list"),
    path(
        "organization/domains/new/", domains.DomainAddView.as_view(), name="domain-add"
    ),
    path(
        "organization/domains/<uuid:pk>/verify/",
        domains.DomainVerifyView.as_view(),
        name="domain-verify",
    ),
    path(
        "organization/domains/<uuid:pk>/remove/",
        domains.DomainRemoveView.as_view(),
        name="domain-remove",
    ),
    path("members/", members.MemberListView.as_view(), name="member-list"),
    path("members/leave/", members.LeaveView.as_view(), name="leave"),
    path("members/<uuid:pk>/role/", members.RoleView.as_view(), name="member-role"),
    path(
        "members/<uuid:pk>/remove/", members.RemoveView.as_view(), name="member-remove"
    ),
    path("teams/", teams.TeamListView.as_view(), name="team-list"),
    path("teams/new/", teams.TeamCreateView.as_view(), name="team-create"),
    path("teams/<uuid:pk>/", teams.TeamDetailView.as_view(), name="team-detail"),
    path("teams/<uuid:pk>/delete/", teams.TeamDeleteView.as_view(), name="team-delete"),
    path(
        "teams/<uuid:pk>/members/",
        teams.TeamMemberAddView.as_view(),
        name="team-member-add",
    ),
    path(
        "teams/<uuid:pk>/members/<uuid:member>/remove/",
        teams.TeamMemberRemoveView.as_view(),
        name="team-member-remove",
    ),
    path(
        "invitations/",
        invitations.InvitationListView.as_view(),
        name="invitation-list",
    ),
    path(
        "invitations/link/",
        invitations.LinkCreateView.as_view(),
        name="invitation-link",
    ),
    path(
        "invitations/answer/",
        invitations.AnswerView.as_view(),
        name="invitation-answer",
    ),
    path(
        "invitations/declined/",
        invitations.DeclinedView.as_view(),
        name="invitation-declined",
    ),
    path(
        "invitations/<uuid:pk>/renew/",
        invitations.RenewView.as_view(),
        name="invitation-renew",
    ),
    path(
        "invitations/<uuid:pk>/revoke/",
        invitations.RevokeView.as_view(),
        name="invitation-revoke",
    ),
    # As above.
    path(
        "invitations/<str:token>/",
        invitations.OpenView.as_view(),
        name="invitation-open",
    ),
]

import billing.models.credits
import django.contrib.postgres.fields
import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("billing", "0002_ledger"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Column",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.SlugField(max_length=60)),
                ("name", models.CharField(max_length=120)),
                ("cascade", django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=80))),
            ],
        ),
        migrations.CreateModel(
            name="Provider",
            fields=[
                ("id", models.SlugField(max_length=40, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=80)),
                (
                    "category",
                    models.CharField(
                        choices=[
                            ("enrichment", "Enrichment"),
                            ("ai", "AI"),
                            ("crm", "CRM"),
                            ("outbound", "Outbound"),
                            ("linkedin", "LinkedIn"),
                        ],
                        max_length=12,
                    ),
                ),
                ("takes_keys", models.BooleanField(default=True, verbose_name="takes idempotency keys")),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Table",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                ("row_count", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="tables", to="billing.organization"
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[("column", "Column"), ("enrichment", "Enrichment"), ("workflow", "Workflow")],
                        default="column",
                        max_length=12,
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("awaiting_approval", "awaiting approval"),
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("paused", "Paused"),
                            ("cancelling", "Cancelling"),
                            ("cancelled", "Cancelled"),
                            ("succeeded", "Succeeded"),
                            ("completed_with_errors", "completed with errors"),
                            ("failed", "Failed"),
                        ],
                        max_length=24,
                    ),
                ),
                (
                    "pause_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("cap_reached", "reached its cap"),
                            ("provider_unavailable", "provider unavailable"),
                            ("by_user", "paused by a person"),
                        ],
                        max_length=24,
                        null=True,
                    ),
                ),
                ("steps", models.JSONField()),
                ("cap", billing.models.credits.CreditsField(decimal_places=4, max_digits=18, null=True)),
                (
                    "unit",
                    billing.models.credits.CreditsField(
                        decimal_places=4,
                        help_text="One item's maximum: the maxima of its managed steps.",
                        max_digits=18,
                    ),
                ),
                ("estimated_min", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                ("estimated", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                ("estimated_max", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                ("rows", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(null=True)),
                ("paused_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("column", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="runs.column")),
                (
                    "continues",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="continued_by",
                        to="runs.run",
                    ),
                ),
                ("member", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="runs", to="billing.organization"
                    ),
                ),
                ("table", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="runs.table")),
            ],
        ),
        migrations.CreateModel(
            name="Row",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("data", models.JSONField()),
                (
                    "table",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="rows", to="runs.table"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="column",
            name="table",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="columns", to="runs.table"
            ),
        ),
        migrations.CreateModel(
            name="Tool",
            fields=[
                ("id", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                (
                    "price",
                    billing.models.credits.CreditsField(
                        blank=True,
                        decimal_places=4,
                        max_digits=18,
                        null=True,
                        verbose_name="estimated credits per call",
                    ),
                ),
                (
                    "maximum",
                    billing.models.credits.CreditsField(
                        blank=True, decimal_places=4, max_digits=18, null=True, verbose_name="maximum credits per call"
                    ),
                ),
                (
                    "success_rate",
                    models.DecimalField(
                        decimal_places=4,
                        help_text="Used until 50 calls have been observed.",
                        max_digits=5,
                        verbose_name="estimated success rate",
                    ),
                ),
                (
                    "provider",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="tools", to="runs.provider"
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="Integration",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("mode", models.CharField(choices=[("managed", "Managed"), ("byok", "own account")], max_length=8)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="integrations",
                        to="billing.organization",
                    ),
                ),
                ("provider", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="runs.provider")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("org", "provider"), name="one_integration_per_provider"),
                    models.CheckConstraint(
                        condition=models.Q(("mode__in", ["managed", "byok"])), name="integration_mode_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Item",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run_id", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("owner", models.UUIDField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("lease_no", models.PositiveIntegerField(default=0)),
                ("result", models.JSONField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "row",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="items", to="runs.row"),
                ),
                (
                    "run",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="items", to="runs.run"),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")), fields=["run", "number"], name="item_pending"
                    ),
                    models.Index(
                        condition=models.Q(("status", "running")), fields=["run", "lease_until"], name="item_running"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("number__gte", 1)), name="item_numbered_from_1"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lease_until__isnull", False), ("owner__isnull", False), ("status", "running")),
                            models.Q(
                                models.Q(("status", "running"), _negated=True),
                                ("lease_until__isnull", True),
                                ("owner__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="item_leased_while_running",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run_id", "item", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("item", models.PositiveIntegerField()),
                ("number", models.PositiveSmallIntegerField()),
                ("provider", models.CharField(max_length=40)),
                ("tool", models.CharField(max_length=80)),
                ("byok", models.BooleanField()),
                ("sent_at", models.DateTimeField()),
                ("settled_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("succeeded", "succeeded"),
                            ("no_result", "no result"),
                            ("failed_before_billing", "failed before billing"),
                            ("failed_after_billing", "failed after billing"),
                            ("unknown", "unknown"),
                        ],
                        max_length=24,
                        null=True,
                    ),
                ),
                (
                    "cost",
                    billing.models.credits.CreditsField(
                        decimal_places=4,
                        help_text="What the provider billed; what is above the maximum was absorbed.",
                        max_digits=18,
                        null=True,
                    ),
                ),
                ("reference", models.CharField(blank=True, help_text="The provider's own.", max_length=120)),
                ("latency_ms", models.PositiveIntegerField(null=True)),
                (
                    "reason",
                    models.CharField(blank=True, help_text="Why it cost what it cost, for a person.", max_length=200),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attempts",
                        to="runs.run",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("outcome__isnull", True), ("settled_at__isnull", True)),
                            models.Q(("outcome__isnull", False), ("settled_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="attempt_settled_with_outcome",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("outcome__isnull", True)),
                        fields=("run", "item"),
                        name="one_open_attempt_an_item",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(models.F("org"), models.OrderBy(models.F("id"), descending=True), name="run_by_org"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("status__in", ("awaiting_approval", "queued", "running", "paused", "cancelling"))),
                fields=["org", "status"],
                name="run_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("pause_reason__isnull", False), ("status", "paused")),
                    models.Q(models.Q(("status", "paused"), _negated=True), ("pause_reason__isnull", True)),
                    _connector="OR",
                ),
                name="run_paused_for_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("ended_at__isnull", False),
                        ("status__in", ("cancelled", "succeeded", "completed_with_errors", "failed")),
                    ),
                    models.Q(
                        ("ended_at__isnull", True),
                        ("status__in", ("awaiting_approval", "queued", "running", "paused", "cancelling")),
                    ),
                    _connector="OR",
                ),
                name="run_ended_at_its_end",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(("cap__isnull", False), ("unit", 0), _connector="OR"),
                name="run_capped_where_managed",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(condition=models.Q(("rows__gte", 1)), name="run_has_rows"),
        ),
        migrations.AddConstraint(
            model_name="row",
            constraint=models.UniqueConstraint(fields=("table", "number"), name="one_row_per_number"),
        ),
        migrations.AddConstraint(
            model_name="column",
            constraint=models.UniqueConstraint(fields=("table", "key"), name="one_column_per_key"),
        ),
        migrations.AddConstraint(
            model_name="column",
            constraint=models.CheckConstraint(condition=models.Q(("cascade__len__gte", 1)), name="column_has_a_tool"),
        ),
        migrations.AddConstraint(
            model_name="tool",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("maximum__isnull", True), ("price__isnull", True)),
                    models.Q(
                        ("maximum__gte", models.F("price")),
                        ("maximum__isnull", False),
                        ("price__gte", 0),
                        ("price__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="tool_price_within_maximum",
            ),
        ),
        migrations.AddConstraint(
            model_name="tool",
            constraint=models.CheckConstraint(
                condition=models.Q(("success_rate__gte", 0), ("success_rate__lte", 1)),
                name="tool_success_rate_is_a_share",
            ),
        ),
    ]

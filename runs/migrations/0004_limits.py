import django.db.models.deletion
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0003_own_accounts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Limit",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "provider_id", "account", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "provider",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="limits",
                        to="runs.provider",
                    ),
                ),
                ("account", models.UUIDField(default=uuid.UUID("00000000-0000-0000-0000-000000000000"))),
                (
                    "tokens",
                    models.DecimalField(decimal_places=4, help_text="Calls that may be made at once.", max_digits=12),
                ),
                ("filled_at", models.DateTimeField()),
                ("blocked_until", models.DateTimeField(null=True)),
                ("failures", models.PositiveIntegerField(default=0, help_text="In a row, since it last answered.")),
                (
                    "openings",
                    models.IntegerField(default=0, help_text="How often it was left alone since then."),
                ),
                ("open_until", models.DateTimeField(null=True)),
                ("probing_until", models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name="provider",
            name="calls_per_second",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                help_text="For each account at it. Empty: no limit.",
                max_digits=8,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="looks_up",
            field=models.BooleanField(default=False, verbose_name="tells what became of a key"),
        ),
        migrations.AddConstraint(
            model_name="provider",
            constraint=models.CheckConstraint(
                condition=models.Q(("calls_per_second__isnull", True), ("calls_per_second__gt", 0), _connector="OR"),
                name="provider_may_be_called",
            ),
        ),
        migrations.AddConstraint(
            model_name="limit",
            constraint=models.CheckConstraint(condition=models.Q(("tokens__gte", 0)), name="limit_tokens_not_negative"),
        ),
        migrations.AddConstraint(
            model_name="limit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("open_until__isnull", True), ("openings", 0), ("probing_until__isnull", True)),
                    models.Q(("open_until__isnull", False), ("openings__gte", 1)),
                    _connector="OR",
                ),
                name="limit_opened_with_time",
            ),
        ),
    ]

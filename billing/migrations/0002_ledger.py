"""The ledger: SQL makes its schema, laws and verbs; Django only learns how to read the tables."""

from pathlib import Path

import billing.models.credits
from django.db import migrations, models

SQL = Path(__file__).parent / "sql" / "0002_ledger.sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(SQL.read_text(), "DROP SCHEMA ledger CASCADE")],
            state_operations=[
                migrations.CreateModel(
                    name="Account",
                    fields=[
                        ("org", models.UUIDField(primary_key=True, serialize=False)),
                        ("zone", models.TextField()),
                        ("account_seq", models.BigIntegerField()),
                        ("granted", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("available", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("drawn", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("spent", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("expired", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("clawed_back", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("restored", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("adjusted", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                    ],
                    options={
                        "db_table": "account",
                    },
                ),
                migrations.CreateModel(
                    name="Draw",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "org", "run", "grant_id", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("org", models.UUIDField()),
                        ("run", models.UUIDField()),
                        ("grant_id", models.UUIDField()),
                        ("amount", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                    ],
                    options={
                        "db_table": "draw",
                    },
                ),
                migrations.CreateModel(
                    name="Entry",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "org",
                                "source",
                                "item",
                                "attempt",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("org", models.UUIDField()),
                        ("source", models.UUIDField(help_text="The run, the grant or the adjustment.")),
                        ("at", models.DateTimeField()),
                        ("item", models.IntegerField()),
                        ("attempt", models.SmallIntegerField()),
                        ("byok", models.BooleanField()),
                        (
                            "kind",
                            models.TextField(
                                choices=[
                                    ("granted", "Granted"),
                                    ("reserved", "Reserved"),
                                    ("captured", "Captured"),
                                    ("released", "Released"),
                                    ("expired", "Expired"),
                                    ("clawed_back", "clawed back"),
                                    ("restored", "Restored"),
                                    ("adjusted", "Adjusted"),
                                ]
                            ),
                        ),
                        ("amount", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("provider", models.TextField(null=True)),
                        ("tool", models.TextField(null=True)),
                        ("outcome", models.TextField(null=True)),
                        ("cost", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("maximum", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("held", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("account_seq", models.BigIntegerField(null=True)),
                        (
                            "available_after",
                            billing.models.credits.CreditsField(decimal_places=4, max_digits=18, null=True),
                        ),
                        (
                            "drawn_after",
                            billing.models.credits.CreditsField(decimal_places=4, max_digits=18, null=True),
                        ),
                        ("actor", models.TextField(null=True)),
                        ("reason", models.TextField(null=True)),
                    ],
                    options={
                        "db_table": "entry",
                    },
                ),
                migrations.CreateModel(
                    name="Grant",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "org", "id", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("org", models.UUIDField()),
                        ("id", models.UUIDField()),
                        ("key", models.TextField()),
                        (
                            "source",
                            models.TextField(
                                choices=[
                                    ("plan_refill", "plan refill"),
                                    ("plan_upgrade", "plan upgrade"),
                                    ("top_up", "top-up"),
                                    ("promo", "promo"),
                                    ("adjustment", "adjustment"),
                                ]
                            ),
                        ),
                        ("amount", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("effective_at", models.DateTimeField()),
                        ("expires_at", models.DateTimeField()),
                        ("paid", billing.models.credits.CreditsField(decimal_places=4, max_digits=18, null=True)),
                        ("currency", models.TextField(null=True)),
                        ("stripe_line", models.TextField(null=True)),
                        ("stripe_payment", models.TextField(null=True)),
                        ("remaining", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("burned", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("expired", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("owed", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("clawed_back", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("restored", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("adjusted", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("entries", models.IntegerField()),
                        ("open", models.BooleanField(help_text="Something remains; generated by the database.")),
                    ],
                    options={
                        "db_table": "credit_grant",
                    },
                ),
                migrations.CreateModel(
                    name="Proof",
                    fields=[
                        ("org", models.UUIDField(primary_key=True, serialize=False)),
                        ("at", models.DateTimeField()),
                        ("broken", models.JSONField(default=dict)),
                    ],
                    options={
                        "db_table": "proof",
                    },
                ),
                migrations.CreateModel(
                    name="Reservation",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "org", "run", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("org", models.UUIDField()),
                        ("run", models.UUIDField()),
                        ("run_kind", models.TextField()),
                        ("member", models.UUIDField()),
                        ("cap", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("estimated_max", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("reserved", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("captured", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("held", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("needed", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("absorbed", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("paused", models.BooleanField()),
                        ("conflicts", models.IntegerField()),
                        ("give_backs", models.IntegerField()),
                        ("opened_at", models.DateTimeField()),
                        ("closed_at", models.DateTimeField(null=True)),
                    ],
                    options={
                        "db_table": "reservation",
                    },
                ),
                migrations.CreateModel(
                    name="UsageByRun",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "org", "day", "run", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("org", models.UUIDField()),
                        ("day", models.DateField()),
                        ("run", models.UUIDField()),
                        ("run_kind", models.TextField()),
                        ("member", models.UUIDField()),
                        ("credits", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("calls", models.BigIntegerField()),
                        ("results", models.BigIntegerField()),
                    ],
                    options={
                        "db_table": "usage_by_run",
                    },
                ),
                migrations.CreateModel(
                    name="UsageByTool",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "org",
                                "day",
                                "provider",
                                "tool",
                                "byok",
                                "outcome",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("org", models.UUIDField()),
                        ("day", models.DateField()),
                        ("provider", models.TextField()),
                        ("tool", models.TextField()),
                        ("byok", models.BooleanField()),
                        ("outcome", models.TextField()),
                        ("credits", billing.models.credits.CreditsField(decimal_places=4, max_digits=18)),
                        ("calls", models.BigIntegerField()),
                    ],
                    options={
                        "db_table": "usage_by_tool",
                    },
                ),
            ],
        ),
    ]

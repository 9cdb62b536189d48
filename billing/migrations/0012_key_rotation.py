import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0011_calls"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="replaces",
            field=models.OneToOneField(
                editable=False,
                help_text="The key in whose place this one was made.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="replaced_by",
                to="billing.apikey",
            ),
        ),
    ]

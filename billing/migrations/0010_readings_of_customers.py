from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0009_open_events"),
    ]

    operations = [
        migrations.AddField(
            model_name="customer",
            name="reading",
            field=models.BigIntegerField(default=0, help_text="The number of the latest look at it."),
        ),
    ]

"""A table keeps the order of its imported columns; the rows themselves do not."""

import django.contrib.postgres.fields
from django.db import migrations, models

# The order in which they were imported is lost; the database's own is taken for it.
TAKE_DOWN = """
UPDATE runs_table AS t SET fields = ARRAY(SELECT jsonb_object_keys(r.data))
FROM runs_row AS r WHERE r.table_id = t.id AND r.number = 1"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0007_modes")]

    operations = [
        migrations.AddField(
            model_name="table",
            name="fields",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.TextField(),
                default=list,
                help_text="What its rows hold, in the order of the import.",
                size=None,
            ),
        ),
        migrations.RunSQL(TAKE_DOWN, migrations.RunSQL.noop),
    ]

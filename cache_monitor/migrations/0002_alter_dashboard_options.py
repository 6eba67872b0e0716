from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("cache_monitor", "0001_initial"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="dashboard",
            options={
                "default_permissions": ("view",),
                "permissions": [
                    ("view_value", "Can view the values of cache entries"),
                    ("delete_entry", "Can delete a cache entry"),
                    ("delete_group", "Can delete the cache entries of a key group"),
                    ("delete_stale", "Can delete stale cache entries"),
                    ("clear_cache", "Can clear a cache"),
                    ("mute_finding", "Can mute a finding"),
                ],
                "verbose_name": "cache dashboard",
                "verbose_name_plural": "Cache dashboard",
            },
        ),
    ]

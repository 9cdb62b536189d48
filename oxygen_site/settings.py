"""Every setting, read from the environment once.

`OXYGEN_ENV` is `production` unless it says `demo` or `test`. Only those two have defaults that are unsafe elsewhere; in
production `SECRET_KEY`, `DATABASE_URL` and `ALLOWED_HOSTS` must be given, or nothing starts. `docs/operations.md` lists
the variables.
"""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP
from environs import Env, EnvError, validate

from oxygen_site import logs, postgres

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env()
UNSAFE_CREDENTIALS_KEY = "known-to-everybody-for-demo-and-tests-only-="

try:
    ENVIRONMENT: str = env.str("OXYGEN_ENV", "production", validate=validate.OneOf(["production", "demo", "test"]))
    PLAYING = ENVIRONMENT != "production"
    TESTING = ENVIRONMENT == "test"

    _missing = [name for name in ("SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS") if not os.environ.get(name)]
    if _missing and not PLAYING:
        raise ImproperlyConfigured(
            f"Set {', '.join(_missing)} in the environment, or OXYGEN_ENV=demo for a try with unsafe defaults."
        )

    DEBUG: bool = env.bool("DEBUG", False)
    SECRET_KEY: str = env.str("SECRET_KEY", "unsafe-and-known-to-everybody-for-demo-and-tests-only")
    ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", "testserver"])
    CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
    BEHIND_PROXY: bool = env.bool("OXYGEN_BEHIND_PROXY", False)
    DATABASE = env.dj_db_url(
        "DATABASE_URL", default="" if os.environ.get("DATABASE_URL") else postgres.url(postgres.demo())
    )
    POOL_SIZE: int = env.int("OXYGEN_POOL_SIZE", 16, validate=validate.Range(min=2))
    SMTP: dict[str, object] = {
        "host": env.str("SMTP_HOST", "localhost"),
        "port": env.int("SMTP_PORT", 25),
        "username": env.str("SMTP_USER", ""),
        "password": env.str("SMTP_PASSWORD", ""),
        "use_tls": env.bool("SMTP_TLS", False),
        "timeout": 30,  # seconds; a server that hangs holds a worker for no longer
    }

    DEFAULT_FROM_EMAIL: str = env.str("DEFAULT_FROM_EMAIL", "billing@localhost")
    # Where links in mails lead.
    SITE_URL: str = env.str(
        "OXYGEN_SITE_URL", "http://localhost:8000" if PLAYING else f"https://{ALLOWED_HOSTS[0].lstrip('.')}"
    ).rstrip("/")

    # Machine time, in seconds (ARCHITECTURE: two clocks).
    LEASE_SECONDS: int = env.int("OXYGEN_LEASE_SECONDS", 30, validate=validate.Range(min=1))
    RESCUE_SECONDS: int = env.int("OXYGEN_RESCUE_SECONDS", 30, validate=validate.Range(min=1))
    SLICE_SECONDS: int = env.int("OXYGEN_SLICE_SECONDS", 5, validate=validate.Range(min=1))
    # How many calls in a row a provider may fail before it is left alone, and for how long at first.
    BREAKER_FAILURES: int = env.int("OXYGEN_BREAKER_FAILURES", 5, validate=validate.Range(min=1))
    BREAKER_SECONDS: int = env.int("OXYGEN_BREAKER_SECONDS", 5, validate=validate.Range(min=1))
    # How long calls in flight may still take once a worker is told to stop; it hands over the rest.
    DRAIN_SECONDS: int = env.int("OXYGEN_DRAIN_SECONDS", 7, validate=validate.Range(min=0))
    # Business time: how long the hold of a call without an answer stays.
    UNKNOWN_SECONDS: int = env.int("OXYGEN_UNKNOWN_SECONDS", 3600, validate=validate.Range(min=1))
    # Calls in flight per slice, slices of one run side by side, jobs side by side in one worker.
    WORKER_CONCURRENCY: int = env.int("OXYGEN_WORKER_CONCURRENCY", 32, validate=validate.Range(min=1))
    RUN_SHARDS: int = env.int("OXYGEN_RUN_SHARDS", 2, validate=validate.Range(min=1))
    WORKER_JOBS: int = env.int("OXYGEN_WORKER_JOBS", 8, validate=validate.Range(min=1))
    API_CALLS_PER_MINUTE: int = env.int("OXYGEN_API_CALLS_PER_MINUTE", 600, validate=validate.Range(min=1))
    METRICS_TOKEN: str = env.str("OXYGEN_METRICS_TOKEN", "")
    # Encrypts the credentials of the orgs' own accounts; without it none can be connected.
    CREDENTIALS_KEY: str = env.str("OXYGEN_CREDENTIALS_KEY", UNSAFE_CREDENTIALS_KEY if PLAYING else "")
    PROVIDERS_URL: str = env.str("OXYGEN_PROVIDERS_URL", "http://127.0.0.1:8001" if PLAYING else "")
    # Without a key nothing can be paid here, and everything else works. billing/checks.py says which go together.
    STRIPE_SECRET_KEY: str = env.str("STRIPE_SECRET_KEY", "")
    STRIPE_WEBHOOK_SECRETS: list[str] = env.list("STRIPE_WEBHOOK_SECRETS", [])
    STRIPE_API_BASE: str = env.str("STRIPE_API_BASE", "")
    STRIPE_ALLOW_SANDBOX: bool = env.bool("STRIPE_ALLOW_SANDBOX", False)
except EnvError as wrong:
    raise ImproperlyConfigured(str(wrong)) from wrong

MOVABLE_CLOCK = PLAYING

INSTALLED_APPS = [
    "oxygen_site",
    "billing",
    "runs",
    "allauth",
    "allauth.account",
    "django_htmx",
    "procrastinate.contrib.django",
    "whitenoise.runserver_nostatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # docs/decisions/0015
    "django.middleware.gzip.GZipMiddleware",
    "oxygen_site.logs.request_line",
    "oxygen_site.api.problems",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "oxygen_site.htmx.page_headers",
    "oxygen_site.htmx.login_wall",
]

ROOT_URLCONF = "oxygen_site.urls"
WSGI_APPLICATION = "oxygen_site.wsgi.application"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 2**20  # of any body but a CSV file's, for which tables have a limit of their own

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# The ledger's tables and functions live in a schema of their own; whatever Django makes goes to public. A prepared
# statement is made at first use: settling prepares nothing twice (LEDGER: never prepared costs 19 % more CPU).
DATABASES = {
    "default": {
        **DATABASE,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **DATABASE.get("OPTIONS", {}),
            "options": "-c search_path=public,ledger -c lock_timeout=5s -c statement_timeout=30s"
            " -c idle_in_transaction_session_timeout=10s",
            "server_side_binding": True,
            "prepare_threshold": 1,
            "pool": False if TESTING else {"min_size": 2, "max_size": POOL_SIZE, "timeout": 5},
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False

# ---------------------------------------------------------------- who signs in

AUTH_USER_MODEL = "billing.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
if TESTING:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the slow one protects nobody here
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/billing"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_SESSION_REMEMBER = True
if PLAYING and "SMTP_HOST" not in os.environ:
    MAILERS: dict[str, dict[str, object]] = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}
else:
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": SMTP}}

# ---------------------------------------------------------------- what browsers are told

# No inline script or style anywhere, so no nonce.
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "font-src": [CSP.SELF],
    "img-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
if not PLAYING:
    SESSION_COOKIE_NAME = "__Host-session"
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_NAME = "__Host-csrf"
    CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^(healthz|readyz|metrics)$"]  # asked from inside, past the proxy
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    if BEHIND_PROXY:
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# ---------------------------------------------------------------- files

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / ".static"
STATICFILES_DIRS = [BASE_DIR / "static"]
_STATIC_STORAGE = (
    "django.contrib.staticfiles.storage.StaticFilesStorage"
    if TESTING
    else "whitenoise.storage.CompressedManifestStaticFilesStorage"
)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": _STATIC_STORAGE},
}

WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = DEBUG or TESTING  # from where they lie; nothing was collected
WHITENOISE_KEEP_ONLY_HASHED_FILES = True  # pages link to no others, and compressing takes half as long

# ---------------------------------------------------------------- the queue

PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "jobs"
PROCRASTINATE_IMPORT_PATHS = ["oxygen_site.demo.moving"] if MOVABLE_CLOCK else []
# A worker that has not given a sign of life for RESCUE_SECONDS is taken for dead, and its jobs go to the others.
PROCRASTINATE_WORKER_DEFAULTS = {
    "concurrency": WORKER_JOBS,
    "update_heartbeat_interval": RESCUE_SECONDS / 3,
    "stalled_worker_timeout": RESCUE_SECONDS,
    # A job that waits behind another's lock is found by this alone, and somebody may be watching for what it does.
    "fetch_job_polling_interval": min(1, RESCUE_SECONDS),
    "delete_jobs": "successful",
}

LOGGING = logs.config(as_json=not PLAYING)

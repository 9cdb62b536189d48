"""Providers with a temper: one loopback HTTP process that answers, delays, errs and bills as the real ones do.

`POST /<provider>/<tool>` with `Idempotency-Key` and `{"tool": "hunter.email_finder", "input": {...the row...}}` answers
200 `{"id": "<their reference>", "result": {...} | null, "cost": "1.0000"}`, or an error status with
`{"error": {"code": "...", "message": "..."}, "charged": "0" | "1.0000"}`; a 429 names its `Retry-After`. The first
answer to a key is given again for it (`Idempotent-Replayed: true`), except after a 429, of which nothing was kept.
A charge is booked when the call arrives, the answer comes later: a caller that dies between has bought all the same.
LeadMagic names its cost as `credits_consumed`; People Data Labs in a header, and a miss is its 404, free of charge.
`GET /<provider>/calls/<key>` tells what became of a key: 200 `{"status": …, "answer": …}` as first given, or 404.
`GET /control/charges[?prefix=]` is their own honest count of charges by key; `GET`, `POST` and `DELETE /control` read,
change and take back the script they follow (`temper.Script`). The same seed, tool and row give the same answer.
"""

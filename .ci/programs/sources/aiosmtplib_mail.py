"""aiosmtplib: python aiosmtplib_mail.py PORT MODE FILE [USER PASSWORD MECHANISM], with the envelope in $FROM and $TO."""

import asyncio
import os
import pathlib
import ssl
import sys

import aiosmtplib

port, mode, file, *credentials = sys.argv[1:]
context = ssl.create_default_context(cafile=os.environ["CA"])


async def send():
    client = aiosmtplib.SMTP(
        hostname="localhost", port=int(port), local_hostname="client.example", tls_context=context,
        use_tls=mode == "tls", start_tls=mode == "starttls")
    async with client:
        if credentials:
            await client.ehlo()
            await getattr(client, "auth_" + credentials[2].lower())(credentials[0], credentials[1])
        await client.sendmail(os.environ["FROM"], os.environ["TO"].split(","), pathlib.Path(file).read_bytes())


asyncio.run(send())

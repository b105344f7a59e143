"""Amazon SNS."""

from __future__ import annotations

from typing import Any

from cgjobs import Discard, OutcomeUnknown, Retry
from cgjobs_notification.extras import library
from cgjobs_notification.sms.gateway import Taken, Text
from cgjobs_notification.sms.settings import Sns

_AGAIN = frozenset({"Throttling", "ThrottlingException", "ServiceUnavailable", "KMSThrottling"})


class SnsGateway:
    """Amazon SNS. boto3 is told to send nothing a second time by itself.

    Args:
        settings: The account.

    Raises:
        Discard: The extra is missing, or no region or account is known.
    """

    def __init__(self, settings: Sns) -> None:
        boto3, config = library("boto3", "sns"), library("botocore.config", "sns")
        self._errors = library("botocore.exceptions", "sns")
        timeout = settings.timeout.total_seconds()
        options: dict[str, Any] = {
            "region_name": settings.region or None,
            "endpoint_url": settings.endpoint_url or None,
            "aws_access_key_id": settings.access_key_id or None,
            "aws_secret_access_key": settings.secret_access_key or None,
        }
        try:
            self._sns = boto3.session.Session().client(
                "sns",
                config=config.Config(
                    connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": 1}
                ),
                **options,
            )
        except (self._errors.BotoCoreError, ValueError) as error:
            raise Discard(f"[plugins.notification.sms.sns]: {error}") from error

    def send(self, text: Text) -> Taken:
        """Publish to the number."""
        errors = self._errors
        attributes = {"AWS.SNS.SMS.SMSType": {"DataType": "String", "StringValue": "Transactional"}}
        if text.sender:
            attributes["AWS.SNS.SMS.SenderID"] = {"DataType": "String", "StringValue": text.sender}
        try:
            reply = self._sns.publish(
                PhoneNumber=text.to.e164, Message=text.text, MessageAttributes=attributes
            )
        except errors.ClientError as error:
            told = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            words = str(told.get("Message", "")).replace(text.to.e164, text.to.masked)
            reason = f"SNS: {told.get('Code', '')} {words}"
            if told.get("Code") in _AGAIN or status in (429, 503):
                raise Retry(reason) from error
            raise (OutcomeUnknown(reason) if status >= 500 else Discard(reason)) from error
        except (errors.ConnectTimeoutError, errors.EndpointConnectionError) as error:
            raise Retry(f"SNS: {type(error).__name__}") from error
        except errors.NoCredentialsError as error:
            raise Discard(f"[plugins.notification.sms.sns]: {error}") from error
        except errors.BotoCoreError as error:
            raise OutcomeUnknown(
                f"SNS did not reply ({type(error).__name__}): it may have taken the message"
            ) from error
        return Taken(provider="sns", provider_id=str(reply["MessageId"]))

    def close(self) -> None:
        """Close the connections."""
        self._sns.close()

"""A folder onto the Hugging Face Hub: only when asked, into a repository that is new, and private."""

from __future__ import annotations

from pathlib import Path

from equipoise.errors import InputError


def check(repository: str) -> None:
    """Raise an InputError where the name cannot be one, or huggingface_hub is not installed; contacts nobody."""
    if repository.count("/") > 1 or not all(repository.split("/")):
        raise InputError(f"--push {repository} is no name of a repository; write NAME or OWNER/NAME")
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        raise InputError(
            "--push needs the package huggingface_hub, which is not installed; run pip install 'equipoise[hub]', or "
            "take --format huggingface and upload the folder yourself"
        ) from None


def push(folder: Path, repository: str) -> str:
    """Upload a folder; returns its address. What is there already is never written over."""
    import huggingface_hub

    api = huggingface_hub.HfApi()
    try:
        address = str(api.create_repo(repository, private=True, exist_ok=False))
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="A generator trained by equipoise")
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{folder} is written, and was not uploaded to {repository} ({reason}); log in by `hf auth login`, choose "
            "the name of a repository that is not there yet, and upload it by `hf upload`"
        ) from None
    return address

"""Public data sets by name: addresses, licenses, and the commands that read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFile:
    """A file of a public data set.

    See Also
    --------
    PublishedDataset : A public data set.
    """

    name: str
    """Name of the downloaded file."""
    urls: tuple[str, ...]
    """Addresses, tried in this order."""
    checksum: str | None = None
    """``md5:`` or ``sha256:`` and the published digest. None if there is none."""


@dataclass(frozen=True)
class PublishedDataset:
    """A public data set that can be downloaded.

    See Also
    --------
    CATALOG : All public data sets.
    sgurinit.data.download.download : Download a data set.

    Examples
    --------
    >>> from sgurinit.data.catalog import CATALOG
    >>> CATALOG["ml-100k"].license
    'research only; the terms are in its README'
    """

    name: str
    """Name in the catalog."""
    license: str
    """License, or terms of use, as published."""
    homepage: str
    """Address of the publishers' page."""
    files: tuple[PublishedFile, ...]
    """Files to download."""
    folder: str = ""
    """Folder with the data inside the download, with all archives unpacked."""
    command: str = "sgurinit inspect {folder}"
    """Command that reads the data; ``{folder}`` stands for their folder."""


_GROUPLENS = "research only; the terms are in its README"
_MOVIELENS = {
    "ml-100k": "0e33842e24a9c977be4e0107933c0723",
    "ml-1m": "c4d9eecfca2ab87c1945afe126590906",
    "ml-20m": "cd245b17a1ae2cc31bb14903e1204af3",
    "ml-25m": "6b51fb2759a8657d3bfcbfc42b592ada",
    "ml-32m": "d472be332d4daa821edc399621853b57",
}  # published with each archive, as <name>.zip.md5

_DIFFMM = "https://raw.githubusercontent.com/HKUDS/DiffMM/fae20e642aeeaad4284be6f7fb3432ebb551da8e"
_TIKTOK = {
    "trnMat.pkl": "sha256:1efbc49d1a7ce5268f01e3e0c558df1f8f8644628c76aa6536be4ec61d256916",
    "valMat.pkl": "sha256:b6971ed696613d565613dd74b101c45b2aa002b66e8ba99cad03abf04db2397b",
    "tstMat.pkl": "sha256:e83a93787d88728572dbdd5b131bae01a90e17c340820e7b8f0a7c27e69d6f9e",
    "image_feat.npy": "sha256:f6c1ec1726ed2aa80315411199ab2143bee6333821bf58c5f00bd3f5b462efc2",
    "audio_feat.npy": "sha256:d45a44a9d462f578802de914c2feea5cfd45742b2922775a085b9bdc1beba26f",
    "text_feat.npy": None,
}  # digests of the files of this commit

_UCSD = (
    "https://mcauleylab.ucsd.edu/public_datasets/data",
    "https://datarepo.eng.ucsd.edu/mcauley_group/data",
)
_AMAZON = "none stated; please cite the publishers' paper"
_COMMON = [
    "Automotive",
    "Books",
    "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories",
    "Clothing_Shoes_and_Jewelry",
    "Digital_Music",
    "Electronics",
    "Grocery_and_Gourmet_Food",
    "Home_and_Kitchen",
    "Kindle_Store",
    "Movies_and_TV",
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Pet_Supplies",
    "Sports_and_Outdoors",
    "Tools_and_Home_Improvement",
    "Toys_and_Games",
    "Video_Games",
]
_ONLY = {
    2014: "Amazon_Instant_Video Apps_for_Android Baby Beauty Health_and_Personal_Care",
    2018: "AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Gift_Cards "
    "Industrial_and_Scientific Luxury_Beauty Magazine_Subscriptions Prime_Pantry Software",
    2023: "All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Baby_Products "
    "Beauty_and_Personal_Care Gift_Cards Handmade_Products Health_and_Household "
    "Health_and_Personal_Care Industrial_and_Scientific Magazine_Subscriptions Software "
    "Subscription_Boxes",
}

_WESTLAKE = "https://recsys.westlake.edu.cn/MicroLens-50k-Dataset"


def _movielens() -> Iterator[PublishedDataset]:
    for name, digest in _MOVIELENS.items():
        url = f"https://files.grouplens.org/datasets/movielens/{name}.zip"
        yield PublishedDataset(
            name,
            _GROUPLENS,
            "https://grouplens.org/datasets/movielens/",
            (PublishedFile(f"{name}.zip", (url,), f"md5:{digest}"),),
            folder=f"{name}/{name}",
            command=f"sgurinit prepare {{folder}} --out {name} --min-value 4",
        )


def _tiktok() -> PublishedDataset:
    files = tuple(
        PublishedFile(name, (f"{_DIFFMM}/Datasets/tiktok/{name}",), digest)
        for name, digest in _TIKTOK.items()
    )
    return PublishedDataset("tiktok", "none stated", "https://github.com/HKUDS/DiffMM", files)


def _amazon() -> Iterator[PublishedDataset]:
    homes = {
        2014: "https://jmcauley.ucsd.edu/data/amazon/links.html",
        2018: "https://nijianmo.github.io/amazon/",
        2023: "https://amazon-reviews-2023.github.io/",
    }
    for year, home in homes.items():
        for category in sorted([*_COMMON, *_ONLY[year].split()], key=str.lower):
            name = f"amazon-{year}-{category.lower().replace('_', '-')}"
            log, items = _amazon_files(year, category)
            command = f"sgurinit prepare {{folder}}/{log.name} --items {{folder}}/{items.name}"
            yield PublishedDataset(
                name, _AMAZON, home, (log, items), command=f"{command} --out {name}"
            )


def _amazon_files(year: int, category: str) -> tuple[PublishedFile, PublishedFile]:
    if year == 2014:
        bases: tuple[str, ...] = ("https://snap.stanford.edu/data/amazon/productGraph",)
        paths = (
            f"categoryFiles/reviews_{category}_5.json.gz",
            f"categoryFiles/meta_{category}.json.gz",
        )
    elif year == 2018:
        bases = tuple(f"{base}/amazon_v2" for base in _UCSD)
        paths = f"categoryFilesSmall/{category}_5.json.gz", f"metaFiles2/meta_{category}.json.gz"
    else:
        bases = tuple(f"{base}/amazon_2023/raw" for base in _UCSD)
        paths = (
            f"review_categories/{category}.jsonl.gz",
            f"meta_categories/meta_{category}.jsonl.gz",
        )
    log, items = (
        PublishedFile(path.rpartition("/")[2], tuple(f"{base}/{path}" for base in bases))
        for path in paths
    )
    return log, items


def _microlens() -> PublishedDataset:
    log, titles = (
        PublishedFile(f"MicroLens-50k_{what}.csv", (f"{_WESTLAKE}/MicroLens-50k_{what}.csv",))
        for what in ("pairs", "titles")
    )
    return PublishedDataset(
        "microlens-50k",
        "research only; the terms are on its page",
        "https://github.com/westlake-repl/MicroLens",
        (log, titles),
        command=f"sgurinit prepare {{folder}}/{log.name} --items {{folder}}/{titles.name} "
        "--time-unit ms --out microlens-50k",
    )


CATALOG: dict[str, PublishedDataset] = {
    entry.name: entry for entry in (_tiktok(), *_movielens(), _microlens(), *_amazon())
}
"""All public data sets, by name."""

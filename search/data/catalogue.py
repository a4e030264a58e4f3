"""Published data sets by the names that `--data` accepts: where they are, what they hold, how to cite them.

Addresses, checksums and counts are those that the sources publish, or that public code which reads them
states. Where a source publishes none, or it could not be confirmed, the value is None. No address has been
tried from here: names of folders and files in an archive are those that public code reads from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One published data set.

    Attributes:
        name: the value of `--data`, and the name of its folder (or .npz file) in the data folder.
        title: what it is, in a few words.
        licence: as the source states it.
        citation: what its authors ask to be cited.
        page: web page of the data set.
        by_hand: how to fetch it without a direct download.
        address: direct download; None if there is none.
        file: name of the downloaded file; it may also lie in the data folder, fetched by hand.
        checksum: of that file, such as "md5:0123…"; None if not published.
        size_bytes: of that file; None if not published.
        keep: regular expression for paths in the archive that belong to the data set. Its group is the path in
            the unpacked folder, which holds one folder per class, or images next to one label file. None: the
            file is no archive.
        class_names: label or folder -> class, where the source's own names are numbers or abbreviations.
        n_images: number of images; None if not published, or if it depends on what is fetched by hand.
    """

    name: str
    title: str
    licence: str
    citation: str
    page: str
    by_hand: str
    address: str | None = None
    file: str | None = None
    checksum: str | None = None
    size_bytes: int | None = None
    keep: str | None = None
    class_names: Mapping[str, str] = field(default_factory=dict)
    n_images: int | None = None


_FIVE = MappingProxyType(
    {"1": "neutrophil", "2": "lymphocyte", "3": "monocyte", "4": "eosinophil", "5": "basophil"}
)
_BCCD_COMMIT = "73e268a747db2f39d21850e71baceb94d058f8af"
_ACEVEDO = (
    "Acevedo et al. 2020, A dataset of microscopic peripheral blood cell images for development of automatic "
    "recognition systems, Data in Brief 30:105474, doi:10.1016/j.dib.2020.105474"
)

_ENTRIES = (
    Entry(
        # The address, the folder's name and the counts agree in several public programs. Mendeley Data publishes
        # a SHA-256 with each file, which none of them repeats.
        name="pbc",
        title="PBC: normal peripheral blood cells of eight classes, CellaVision DM96, Barcelona",
        licence="CC BY 4.0",
        citation=_ACEVEDO,
        page="https://data.mendeley.com/datasets/snkd93bnjr/1",
        by_hand="download its zip file in a browser",
        address=(
            "https://data.mendeley.com/public-files/datasets/snkd93bnjr/files/"
            "2fc38728-2ae7-4a62-a857-032af82334c3/file_downloaded"
        ),
        file="PBC_dataset_normal_DIB.zip",
        keep=r"(?:.*/)?PBC_dataset_normal_DIB/([^/]+/[^/]+\.jpg)",
        class_names=MappingProxyType({"ig": "immature granulocyte"}),
        n_images=17092,
    ),
    Entry(
        # The images are whole fields, with the cell anywhere in them; a centre crop would miss it.
        name="lisc",
        title="LISC: white blood cells in whole fields of 720 x 576 px, Gismo-Right stain",
        licence="research and education only; not to be passed on; acknowledgement required",
        citation=(
            "Rezatofighi and Soltanian-Zadeh 2011, Automatic recognition of five types of white blood cells in "
            "peripheral blood, Computerized Medical Imaging and Graphics 35:333-343, "
            "doi:10.1016/j.compmedimag.2011.01.003"
        ),
        page="http://users.cecs.anu.edu.au/~hrezatofighi/Data/Leukocyte%20Data.htm",
        by_hand=(
            "request it from its authors, cut the cells out of the fields, and make one folder of cells per class"
        ),
    ),
    Entry(
        # The cleaned crops are the whole of the folder at this commit; its README gives the count, no licence.
        # The photos they are cut from are those of Shenggan/BCCD_Dataset, under the MIT licence.
        name="bccd",
        title="BCCD, cleaned and cropped: white blood cells of five classes",
        licence="MIT (of the photos; the repository of the crops states none)",
        citation="github.com/Shenggan/BCCD_Dataset and github.com/apple2373/BCCD",
        page="https://github.com/apple2373/BCCD",
        by_hand="download the repository as a zip file",
        address=f"https://github.com/apple2373/BCCD/archive/{_BCCD_COMMIT}.zip",
        file=f"BCCD-{_BCCD_COMMIT}.zip",
        keep=r"[^/]+/BCCD_cropped/([^/]+/[^/]+\.jpg)",
        n_images=351,
    ),
    Entry(
        # Each image has its mask next to it, as a PNG file of the same stem, which is left out. The source warns
        # that experts have not checked the class labels, which its authors partly added themselves.
        name="jtsc",
        title="JTSC: white blood cells of five classes, rapid stain, Jiangxi Tecom ('Dataset 1')",
        licence="acknowledgement and citation required; no licence could be confirmed",
        citation=(
            "Zheng et al. 2018, Fast and robust segmentation of white blood cell images by self-supervised "
            "learning, Micron 107:55-71, doi:10.1016/j.micron.2018.01.010; images by Jiangxi Tecom Science "
            "Corporation, China"
        ),
        page="https://github.com/zxaoyou/segmentation_WBC",
        by_hand="download the repository as a zip file",
        address="https://github.com/zxaoyou/segmentation_WBC/archive/refs/heads/master.zip",
        file="segmentation_WBC-master.zip",
        keep=r"[^/]+/(?:Dataset 1/([^/]+\.bmp)|(Class Labels of Dataset 1\.csv))",
        class_names=_FIVE,
        n_images=300,
    ),
    Entry(
        # RAR archives, which Python cannot open; the count depends on which of them are fetched.
        name="raabin",
        title="Raabin-WBC, cropped and labelled twice: white blood cells of five classes",
        licence="free for any use, as the authors state",
        citation=(
            "Kouzehkanan et al. 2022, A large dataset of white blood cells containing cell locations and types, "
            "along with segmented nuclei and cytoplasm, Scientific Reports 12:1123, "
            "doi:10.1038/s41598-021-04426-x"
        ),
        page="https://raabindata.com/free-data/",
        by_hand=(
            "download Train.rar from http://dl.raabindata.com/WBC/Cropped_double_labeled/ and unpack it, so that "
            "there is one folder per class"
        ),
    ),
    Entry(
        # Address, checksum, labels and counts are those of the package medmnist 3.0.2.
        name="bloodmnist",
        title="BloodMNIST: PBC cropped to 28 x 28 px and split into train, val and test",
        licence="CC BY 4.0",
        citation=(
            "Yang et al. 2023, MedMNIST v2, Scientific Data 10:41, doi:10.1038/s41597-022-01721-8; " + _ACEVEDO
        ),
        page="https://zenodo.org/records/10519652",
        by_hand="download bloodmnist.npz in a browser",
        address="https://zenodo.org/records/10519652/files/bloodmnist.npz?download=1",
        file="bloodmnist.npz",
        checksum="md5:7053d0359d879ad8a5505303e11de1dc",
        class_names=MappingProxyType(
            {
                "0": "basophil",
                "1": "eosinophil",
                "2": "erythroblast",
                "3": "immature granulocyte",
                "4": "lymphocyte",
                "5": "monocyte",
                "6": "neutrophil",
                "7": "platelet",
            }
        ),
        n_images=17092,
    ),
)

CATALOGUE: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def is_address(data: str) -> bool:
    """Whether a value of `--data` is a URL."""
    return "://" in data


def is_path(data: str) -> bool:
    """Whether a value of `--data` is a path: neither a URL nor a name in the catalogue.

    A folder of the user's own beats a name, so that it is never shadowed.
    """
    return not is_address(data) and (data not in CATALOGUE or Path(data).exists())


def published_names(data: str, path: Path) -> Mapping[str, str] | None:
    """The class names that a source publishes, label or folder -> class; None if it publishes none.

    Args:
        data: the value of `--data`.
        path: where its images are. A file of BloodMNIST is known by its name, in each of its published sizes
            (bloodmnist.npz, bloodmnist_64.npz, …).
    """
    if path.suffix == ".npz":
        return CATALOGUE["bloodmnist"].class_names if path.stem.partition("_")[0] == "bloodmnist" else None
    return None if is_address(data) or is_path(data) else CATALOGUE[data].class_names or None

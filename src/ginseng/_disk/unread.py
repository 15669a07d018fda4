"""Recognise common files that are not supported, and say how to convert them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ginseng._disk import packed
from ginseng._disk.sniff import HDF5, Look


@dataclass(frozen=True)
class Unread:
    """A kind of file that is not supported.

    Attributes
    ----------
    sniff
        Whether a file is of this kind.
    what
        Its name.
    remedy
        What to do. In a text of several lines, those after the first create an AnnData; `{path}` is replaced.
    """

    sniff: Callable[[Look], bool]
    what: str
    remedy: str


def _starts(*signatures: bytes) -> Callable[[Look], bool]:
    return lambda look: (
        look.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(signatures) or look.head.startswith(signatures)
    )


def _zip_with(*parts: str) -> Callable[[Look], bool]:
    return lambda look: look.packing == "zip" and any(name.endswith(parts) for name in look.members)


def _python(*lines: str) -> str:
    return "\n    ".join(["make an AnnData of it in Python:", *lines])


def _r(*lines: str) -> str:
    return "\n    ".join(["make an h5ad of it in R:", *lines])


UNREAD = (
    # HDF5 and zarr
    Unread(lambda k: k.has("hdf5", "gem_group", "umi"), "a 10x molecule_info file",
        "pass `filtered_feature_bc_matrix.h5` from the same run"),
    Unread(lambda k: k.has("hdf5", "row_attrs", "col_attrs"), "a loom file",
        _python("import anndata  # and `pip install loompy`",
            "anndata.io.read_loom({path!r}).write_h5ad('cells.h5ad')")),
    Unread(lambda k: k.has("hdf5", "cell.names") or k.has("hdf5", "assays", "meta.data"), "a Seurat object (h5seurat)",
        _r("library(SeuratDisk)", "Convert({path!r}, dest = 'h5ad')")),
    Unread(lambda k: k.has("hdf5", "params"), "a model", "read it with `ginseng.load_model`"),
    Unread(lambda k: k.has("folder", "__tiledb_group.tdb") or k.has("folder", "__group"), "a TileDB-SOMA experiment",
        _python("import tiledbsoma.io",
            "adata = tiledbsoma.io.to_anndata(tiledbsoma.Experiment.open({path!r}), 'RNA', X_layer_name='data')")),
    # R
    Unread(_starts(b"RDX", b"RDA"), "an R data file, of one or more objects",
        _r("name <- load({path!r})[1]",
            "zellkonverter::writeH5AD(Seurat::as.SingleCellExperiment(get(name)), 'cells.h5ad')")),
    Unread(_starts(b"X\n\0\0", b"A\n2\n", b"A\n3\n", b"B\n\2", b"B\n\3"), "an R object",
        _r("object <- readRDS({path!r})",
            "zellkonverter::writeH5AD(Seurat::as.SingleCellExperiment(object), 'cells.h5ad')")),
    # tables that pandas reads
    Unread(_starts(b"PAR1"), "a parquet table",
        _python("import anndata, pandas",
            "adata = anndata.AnnData(pandas.read_parquet({path!r}))  # `.T` if its rows are genes")),
    Unread(_starts(b"ARROW1", b"FEA1"), "a feather table",
        _python("import anndata, pandas",
            "adata = anndata.AnnData(pandas.read_feather({path!r}).set_index('cell'))  # its column with the names")),
    Unread(_zip_with("xl/workbook.xml", "xl/workbook.bin"), "an Excel workbook",
        _python("import anndata, pandas",
            "adata = anndata.AnnData(pandas.read_excel({path!r}, index_col=0))  # `.T` if its rows are genes")),
    Unread(_starts(b"\xd0\xcf\x11\xe0"), "an Excel workbook",
        _python("import anndata, pandas",
            "adata = anndata.AnnData(pandas.read_excel({path!r}, index_col=0))  # `.T` if its rows are genes")),
    # Python
    Unread(_zip_with(".npy"), "a NumPy archive, which has no names of genes",
        _python("import anndata, scipy.sparse",
            "adata = anndata.AnnData(scipy.sparse.load_npz({path!r}))  # and set adata.obs_names, adata.var_names")),
    Unread(_starts(b"\x93NUMPY"), "a NumPy array, which has no names of genes",
        _python("import anndata, numpy",
            "adata = anndata.AnnData(numpy.load({path!r}))  # and set adata.obs_names, adata.var_names")),
    Unread(_starts(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a Python pickle, which can run any code when it is read",
        _python("import pandas  # if you trust where it comes from",
            "pandas.read_pickle({path!r}).write_h5ad('cells.h5ad')")),
    # reads
    Unread(_starts(b"BAM\1", b"CRAM", b"@HD\t", b"@SQ\t"), "a file of aligned reads, not of counts",
        "count them first, with Cell Ranger, STARsolo or alevin:\n"
        "    STAR --runMode soloCellFiltering ...  # or `cellranger count ...`\n    ginseng.read_adata('Solo.out')"),
    Unread(lambda k: k.head.startswith(b"@") and b"\n+" in k.head, "a file of reads (FASTQ), not of counts",
        "count them first, with Cell Ranger, STARsolo or kb-python:\n"
        "    kb count -i index.idx -g t2g.txt -x 10xv3 -o out R1.fastq.gz R2.fastq.gz\n"
        "    ginseng.read_adata('out/counts_unfiltered')"),
    Unread(lambda k: k.head.startswith(b">") and k.is_text, "a file of sequences (FASTA), not of counts",
        "pass the counts"),
    Unread(_starts(b"##fileformat=VCF", b"##gff", b"#!genome", b"##description"),
        "a file of variants or annotations, not of counts", "pass the counts"),
    # others
    Unread(_starts(b"<"), "a web page", "the link requires a login, or leads to a page about the file"),
    Unread(_starts(b"version https://git-lfs"), "a Git LFS pointer", "run `git lfs pull` to get the file itself"),
    Unread(_starts(b"%PDF", b"\x89PNG", b"\xff\xd8\xff"), "a picture or a document", "pass the counts"),
    Unread(_starts(b"SQLite format"), "an SQLite database", "pass the counts"),
    Unread(lambda k: k.head[257:262] == b"ustar", "a tar archive",
        "unpack it first, and pass what is in it:\n    tar -xf {path!r}\n"
        "    ls  # of GEO's RAW.tar, one file or three per sample"),
    Unread(lambda k: k.packing == "zip" and len(k.members) != 1, "a zip archive", "unpack it first"),
)  # fmt: skip


def explain(look: Look) -> str | None:
    """Describe a file and the remedy, if it is of a known unsupported kind."""
    for kind in UNREAD:
        if kind.sniff(look):
            remedy = kind.remedy.format(path=str(look.path))
            return f"{look.name} is {kind.what}: {remedy}" + ("" if "\n" in remedy else ".")
    if look.packing and look.head.startswith(tuple(packed.SIGNATURES)):
        return f"{look.name} is {look.packing}-compressed, and truncated or damaged: download or copy it again."
    if look.head.startswith(HDF5):
        return f"{look.name} cannot be opened: it is truncated or damaged. Download or copy it again."
    return None

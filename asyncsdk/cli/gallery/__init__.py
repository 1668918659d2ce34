"""One HTML page of many edits: before and after side by side, rejects marked by keyboard for `--redo`."""

from asyncsdk.cli.gallery.item import GalleryItem, gallery_item
from asyncsdk.cli.gallery.page import gallery_page
from asyncsdk.cli.gallery.writing import is_gallery, put_gallery, write_gallery

__all__ = ["GalleryItem", "gallery_item", "gallery_page", "is_gallery", "put_gallery", "write_gallery"]

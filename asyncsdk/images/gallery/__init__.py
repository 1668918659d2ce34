"""One HTML page of many edits: before and after side by side, rejects marked by keyboard for `--redo`."""

from asyncsdk.images.gallery.item import GalleryItem, gallery_item
from asyncsdk.images.gallery.page import gallery_page
from asyncsdk.images.gallery.writing import write_gallery

__all__ = ["GalleryItem", "gallery_item", "gallery_page", "write_gallery"]

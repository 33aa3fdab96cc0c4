from .listed import STUDIES as STUDIES

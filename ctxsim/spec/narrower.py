"""Feed-forward layers of a share of their width: sub-models of MatFormer (arXiv 2310.07707) and light branches."""

from __future__ import annotations

from dataclasses import replace

from ctxsim.spec.model import Matrix, Product


def narrowed(matrix: Matrix, ratio: float) -> Matrix:
    """Gate and up lose outputs, down inputs: what tensor parallelism cuts."""
    products = tuple(_cut(product, ratio) for product in matrix.products)
    parameters = sum(p.outputs * p.inputs for p in products) or round(matrix.parameters * ratio)
    return replace(matrix, parameters=parameters, biases=round(matrix.biases * ratio), products=products)


def _cut(product: Product, ratio: float) -> Product:
    if product.cut == "outputs":
        return replace(product, outputs=round(product.outputs * ratio))
    return replace(product, inputs=round(product.inputs * ratio))

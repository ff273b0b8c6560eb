"""What is out of place on a page: text that leaves its frame, or lies on other text. Boxes, not pixels."""

from __future__ import annotations

from typing import Any

__all__ = ["misplaced"]

# Leaves are elements with text of their own. Those in one line of text touch each other; two pixels are no overlap.
_FIND = """selector => {
    const found = []
    for (const frame of document.querySelectorAll(selector)) {
        const outer = frame.getBoundingClientRect()
        const leaves = [...frame.querySelectorAll('*')].filter(node =>
            !node.closest('svg') && getComputedStyle(node).visibility === 'visible' &&
            [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim()))
        const boxes = leaves.flatMap(node => {
            const range = document.createRange(); range.selectNodeContents(node)
            return [...range.getClientRects()].filter(box => box.width && box.height).map(box => ({node, box}))
        })
        for (const {node, box} of boxes)
            if (box.left < outer.left - 1 || box.right > outer.right + 1 || box.bottom > outer.bottom + 1)
                found.push('outside: ' + node.textContent.trim().slice(0, 60))
        for (let i = 0; i < boxes.length; i++)
            for (let j = i + 1; j < boxes.length; j++) {
                const [a, b] = [boxes[i], boxes[j]]
                if (a.node.contains(b.node) || b.node.contains(a.node)) continue
                const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left)
                const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top)
                if (wide > 2 && high > 4)
                    found.push(`on each other: ${a.node.textContent.trim().slice(0, 40)} | ` +
                               b.node.textContent.trim().slice(0, 40))
            }
    }
    return [...new Set(found)]
}"""


def misplaced(page: Any, selector: str) -> list[str]:
    """What is wrong in the elements that match `selector`; empty if nothing is."""
    found: list[str] = page.evaluate(_FIND, selector)
    return found

/**
 * Formats rows as aligned columns of text.
 * @param left indexes of the left-aligned columns; the others are right-aligned
 */
export function columns(rows: readonly (readonly string[])[], left: readonly number[] = [0]): string {
  const widths: number[] = []
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, widthOf(cell))
    }
  }
  return rows
    .map((row) =>
      row
        .map((cell, index) => {
          const space = ' '.repeat((widths[index] as number) - widthOf(cell))
          return left.includes(index) ? cell + space : space + cell
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function widthOf(text: string): number {
  return [...text].length
}

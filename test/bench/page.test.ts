/** @module-tag unit */
import { describe, expect, it } from 'vitest'
import { html, Markup } from '../../bench/page/markup.js'
import { logScale } from '../../bench/page/scale.js'
import { bytes, percent, seconds } from '../../bench/format.js'

describe('the page', () => {
  it('escapes text but not markup', () => {
    expect(html`<b>${'a < b & "c"'}</b>`.text).toBe('<b>a &lt; b &amp; &quot;c&quot;</b>')
    expect(html`<p>${[html`<i>1</i>`, new Markup('<i>2</i>')]}${undefined}</p>`.text).toBe(
      '<p><i>1</i><i>2</i></p>',
    )
  })

  it('extends a logarithmic axis to round numbers, and thins its ticks', () => {
    const { at, ticks } = logScale([3e-5, 4e-4])
    expect(ticks).toEqual([2e-5, 5e-5, 1e-4, 2e-4, 5e-4])
    expect([at(2e-5), at(1e-4), at(5e-4)]).toEqual([0, 0.5, 1])
    expect(logScale([1e-6, 10]).ticks).toEqual([1e-6, 1e-4, 1e-2, 1])
  })

  it('gives an axis a length if all values are equal', () => {
    const { at, ticks } = logScale([1, 1])
    expect(ticks).toEqual([1, 2])
    expect(at(1)).toBe(0)
    expect(at(0)).toBe(0)
  })

  it('formats times and sizes with three significant digits, and changes in percent', () => {
    expect([1.234e-4, 0.0125, 3, 12.345].map(seconds)).toEqual(['123 µs', '12.5 ms', '3 s', '12.3 s'])
    expect([0, 512, 40 * 2 ** 20, 1.5 * 2 ** 30].map(bytes)).toEqual(['0 B', '512 B', '40 MiB', '1.50 GiB'])
    expect([0.123, -0.5].map(percent)).toEqual(['+12 %', '−50 %'])
  })
})

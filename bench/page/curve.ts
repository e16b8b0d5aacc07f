import { seconds } from '../format.js'
import { totals, type ContenderResult, type WorkloadResult } from '../result.js'
import { median } from '../statistics.js'
import type { Look } from './colour.js'
import { html, type Markup } from './markup.js'
import { logScale } from './scale.js'

const WIDTH = 960
const HEIGHT = 400
const BOX = { left: 64, top: 12, right: 690, bottom: 360 }
/** Minimum distance between the labels at the ends of lines. */
const LEADING = 15

interface Line {
  readonly name: string
  readonly look: Look
  readonly points: readonly { readonly at: number; readonly value: number }[]
}

/** A chart of the medians of a series of workloads, with logarithmic axes. */
export function curve(
  series: readonly WorkloadResult[],
  { title, unit, label }: { title: string; unit: string; label: (at: number) => string },
  lookOf: (contender: ContenderResult) => Look,
): Markup {
  const lines = linesOf(series, lookOf)
  const places = [...new Set(series.map(({ point }) => point?.at ?? 0))].toSorted((a, b) => a - b)
  const y = logScale(lines.flatMap(({ points }) => points.map(({ value }) => value)))
  const across = placesOf(places)
  const down = (value: number) => BOX.bottom - y.at(value) * (BOX.bottom - BOX.top)
  return html`<figure class="curve">
    <figcaption>${title}</figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">
      ${y.ticks.map(
        (tick) =>
          html`<line class="grid" x1="${BOX.left}" x2="${BOX.right}" y1="${down(tick)}" y2="${down(tick)}" />
            <text class="tick" x="${BOX.left - 8}" y="${down(tick) + 4}" text-anchor="end"
              >${seconds(tick)}</text
            >`,
      )}
      ${places.map(
        (place) =>
          html`<line
              class="grid"
              x1="${across(place)}"
              x2="${across(place)}"
              y1="${BOX.top}"
              y2="${BOX.bottom}"
            />
            <text class="tick" x="${across(place)}" y="${BOX.bottom + 18}" text-anchor="middle"
              >${label(place)}</text
            >`,
      )}
      <text class="tick" x="${(BOX.left + BOX.right) / 2}" y="${BOX.bottom + 36}" text-anchor="middle">
        ${unit}
      </text>
      ${lines.map(({ name, look, points }) => {
        const path = points
          .map(({ at, value }) => `${across(at).toFixed(1)},${down(value).toFixed(1)}`)
          .join(' ')
        return html`<polyline
            points="${path}"
            fill="none"
            style="stroke:${look.colour}"
            stroke-width="2"
            stroke-dasharray="${look.dash}"
          />
          ${points.map(
            ({ at, value }) =>
              html`<circle
                cx="${across(at).toFixed(1)}"
                cy="${down(value).toFixed(1)}"
                r="3.5"
                style="fill:${look.colour}"
              >
                <title>${name}, ${label(at)}: ${seconds(value)}</title>
              </circle>`,
          )}`
      })}
      ${labels(lines, across, down)}
    </svg>
  </figure>`
}

function linesOf(series: readonly WorkloadResult[], lookOf: (contender: ContenderResult) => Look): Line[] {
  const lines = new Map<string, { look: Look; points: { at: number; value: number }[] }>()
  for (const { point, contenders } of series) {
    for (const contender of contenders) {
      if (contender.samples.length === 0 || point === undefined) continue
      const line = lines.get(contender.name) ?? { look: lookOf(contender), points: [] }
      line.points.push({ at: point.at, value: median(totals(contender)) })
      lines.set(contender.name, line)
    }
  }
  return [...lines].map(([name, { look, points }]) => ({
    name,
    look,
    points: points.toSorted((a, b) => a.at - b.at),
  }))
}

/** Positions on a logarithmic axis. Zero lies one step before the first positive value. */
function placesOf(places: readonly number[]): (at: number) => number {
  const positive = places.filter((place) => place > 0)
  const step =
    positive.length > 1
      ? Math.log((positive.at(-1) as number) / (positive[0] as number)) / (positive.length - 1)
      : 1
  const logOf = (at: number) => (at > 0 ? Math.log(at) : Math.log(positive[0] ?? 1) - step)
  const [first, last] = [logOf(places[0] ?? 1), logOf(places.at(-1) ?? 1)]
  const inset = 16
  const width = BOX.right - BOX.left - 2 * inset
  return (at) => BOX.left + inset + (last === first ? 0.5 : (logOf(at) - first) / (last - first)) * width
}

/** Labels at the ends of their lines, moved apart if they would overlap. */
function labels(
  lines: readonly Line[],
  across: (at: number) => number,
  down: (value: number) => number,
): Markup[] {
  const ends = lines
    .flatMap(({ name, look, points }) => {
      const end = points.at(-1)
      return end === undefined ? [] : [{ name, look, x: across(end.at), y: down(end.value) }]
    })
    .toSorted((a, b) => a.y - b.y)
  const places = spread(ends.map(({ y }) => y))
  const x = BOX.right + 14
  return ends.map(({ name, look, x: from, y }, index) => {
    const at = places[index] as number
    return html`<line x1="${from + 6}" y1="${y}" x2="${x - 3}" y2="${at}" class="leader" />
      <text class="label" x="${x}" y="${at + 4}" style="fill:${look.colour}">${name}</text>`
  })
}

/** Returns ascending positions, at least `LEADING` apart, and otherwise close to the wanted ones. */
function spread(wanted: readonly number[]): number[] {
  const room = (wanted.length - 1) * LEADING
  const places: number[] = []
  for (const [index, place] of wanted.entries()) {
    places.push(Math.max(place, (places[index - 1] ?? -Infinity) + LEADING, BOX.top))
  }
  const over = (places.at(-1) ?? 0) - BOX.bottom
  if (over <= 0) return places
  const limit = Math.max(BOX.bottom, BOX.top + room)
  for (let index = places.length - 1; index >= 0; index--) {
    places[index] = Math.min(places[index] as number, limit - (places.length - 1 - index) * LEADING)
  }
  return places
}

/** @module-tag unit */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, it } from 'vitest'
import { oddLayers } from '#layerstack/conformance/index.js'
import { disagreements, reasons, taken } from '../odd-layers/disagreements/index.js'
import { judges, type JudgeName } from '../odd-layers/judges.js'

const page = resolve(import.meta.dirname, '../../docs/odd-layers.md')
const MARKED = /(?<=<!-- odd layers: [^\n]*-->\n)[\s\S]*?(?=<!-- \/odd layers -->)/
const JUDGES = Object.keys(judges) as JudgeName[]
const REASONS = Object.keys(reasons)

/** With LAYERSTACK_WRITE_DOCS (`npm run docs`) the page is written instead of being compared. */
it('docs/odd-layers.md lists every disagreement and its reasons', () => {
  const known = new Set(disagreements.map(({ odd }) => odd))
  const rows = oddLayers.filter(({ name }) => known.has(name)).map(rowOf)
  const list = REASONS.map((key, index) => `${index + 1}. ${reasons[key as keyof typeof reasons]}`)
  const agreed = oddLayers.filter(({ name }) => !known.has(name)).map(({ name }) => name)
  const wanted = [
    tableOf([['', 'here', ...JUDGES], ...rows]),
    list.join('\n'),
    `All make the same tree of: ${agreed.join('; ')}.`,
    `Others take these of the layers that are refused here; names that climb are cut off at the root there:\n\n${takenList()}`,
  ]
  const text = readFileSync(page, 'utf8')
  const whole = text.replace(MARKED, () => `\n${wanted.join('\n\n')}\n\n`)
  if (process.env['LAYERSTACK_WRITE_DOCS'] !== undefined) writeFileSync(page, whole)
  else expect(text).toBe(whole)
})

it('every reason explains a disagreement', () => {
  const needed = new Set<string>(disagreements.flatMap(({ why }) => why))
  expect(REASONS.filter((key) => !needed.has(key))).toEqual([])
})

function takenList(): string {
  return Object.entries(taken)
    .map(([name, who]) => `- ${name} (${who.join('; ')})`)
    .join('\n')
}

function rowOf({ name, note }: (typeof oddLayers)[number]): string[] {
  return [name, note, ...JUDGES.map((judge) => cellOf(name, judge))].map((cell) =>
    cell.replaceAll('|', '\\|'),
  )
}

function cellOf(odd: string, judge: JudgeName): string {
  const found = disagreements.find((each) => each.odd === odd && each.judges.includes(judge))
  if (found === undefined) return ''
  const numbers = found.why.map((key) => REASONS.indexOf(key) + 1).join(', ')
  return /^(refused|broken)/.test(found.shows[0] ?? '') ? `✗ ${numbers}` : numbers
}

function tableOf(rows: readonly string[][]): string {
  const widths = rows[0]?.map((_, index) => Math.max(3, ...rows.map((row) => row[index]?.length ?? 0))) ?? []
  const drawn = rows.map(
    (row) => `| ${row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' | ')} |`,
  )
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [drawn[0], rule, ...drawn.slice(1)].join('\n')
}

/** @module-tag unit */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, it } from 'vitest'
import { DIFFERENCES, type Subject } from '../fs/posix/differences.js'
import { TABLE, type Group } from '../fs/posix/table.js'
import { markdownTable } from './markdown-table.js'

const page = resolve(import.meta.dirname, '../../docs/posix.md')

/** With LAYERSTACK_WRITE_DOCS (`npm run docs`) the tables are written instead of being compared. */
it('docs/posix.md counts the cases and lists the differences between the kernel and LayerFs', () => {
  const text = readFileSync(page, 'utf8')
  const asked = markdownTable([['what is asked', 'operations', 'objects', 'cases'], ...TABLE.map(countsOf)])
  const differences = markdownTable([
    ['call', 'the kernel', 'LayerFs', 'where', 'why'],
    ...DIFFERENCES.map((each) => [each.what, each.kernel, each.ours, placesOf(each.subjects), each.reason]),
  ])
  const wanted = marked(marked(text, 'asked', asked), 'differences', differences)
  if (process.env['LAYERSTACK_WRITE_DOCS'] !== undefined) writeFileSync(page, wanted)
  else expect(text).toBe(wanted)
})

function marked(text: string, name: string, table: string): string {
  const region = new RegExp(`(?<=<!-- ${name}: [^\\n]*-->\\n)[\\s\\S]*?(?=<!-- /${name} -->)`)
  return text.replace(region, `\n${table}\n\n`)
}

function countsOf({ name, cases }: Group): string[] {
  const operations = new Set(cases.map(({ operation }) => operation))
  const objects = new Set(
    cases.map((each) =>
      Object.values(each.objects)
        .map((object) => object.name)
        .join(),
    ),
  )
  return [name, operations.size, objects.size, cases.length].map(String)
}

function placesOf(subjects: readonly Subject[]): string {
  if (subjects.includes('mount')) return 'everywhere'
  return subjects.includes('union') ? 'overlay2, userspace' : 'attributes kept aside'
}

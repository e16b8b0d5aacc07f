/** @module-tag unit */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, it } from 'vitest'

const project = resolve(import.meta.dirname, '../..')

it('the README explains every error code and no other, in the order of the source', () => {
  const source = readFileSync(resolve(project, 'src/errors.ts'), 'utf8')
  const readme = readFileSync(resolve(project, 'README.md'), 'utf8')
  const codes = [...source.matchAll(/^ {2}\| '([A-Z_]+)'$/gm)].map(([, code]) => code)
  const explained = [...readme.matchAll(/^\| `([A-Z_]+)`/gm)].map(([, code]) => code)
  expect(codes.length).toBeGreaterThan(20)
  expect(explained).toEqual(codes)
})

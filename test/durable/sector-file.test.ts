/** @module-tag every-identity */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeSectorFile } from '#layerstack/durable/sector-file.js'

describe('writeSectorFile()', () => {
  let directory: string
  let path: string

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'layerstack-sector-'))
    path = join(directory, 'file')
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  it('overwrites the sector in place, without a rest of the old content', async () => {
    await writeSectorFile(path, '{"number":123456}')
    const { ino } = statSync(path)
    await writeSectorFile(path, '{"number":7}')
    expect(statSync(path)).toMatchObject({ ino, size: 512 })
    expect(readFileSync(path, 'utf8').trimEnd()).toBe('{"number":7}')
  })

  it('writes a text to a missing file or a file of another length, and a text longer than a sector', async () => {
    for (const [before, text] of [
      [undefined, 'first'],
      ['short', 'second'],
      ['x'.repeat(600), 'third'],
      ['x'.repeat(512), 'é'.repeat(300)],
    ] as const) {
      if (before !== undefined) writeFileSync(path, before)
      await writeSectorFile(path, text)
      expect(readFileSync(path, 'utf8').trimEnd()).toBe(text)
      expect(readdirSync(directory)).toEqual(['file'])
    }
  })
})

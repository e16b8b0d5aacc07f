/**
 * @module-tag unit
 * @module-tag every-identity
 */
import { describe, expect, it } from 'vitest'
import { isAbandonedName, isTemporaryName, temporaryName } from '#layerstack/sys/temporary-name.js'
import { nameOfDead } from '../support/dead-name.js'

describe('temporary name', () => {
  it('is recognised with any label and unique', () => {
    for (const label of ['spare', 'lock.held', 'a-b.json', 'x'.repeat(100)]) {
      expect(isTemporaryName(temporaryName(label))).toBe(true)
      expect(temporaryName(label)).not.toBe(temporaryName(label))
    }
    expect(['.tmp-file', '.tmp-file-1.2.3', 'file', 'write-set-123456'].filter(isTemporaryName)).toEqual([])
  })

  it('of a running process is not abandoned', () => {
    expect(isAbandonedName(temporaryName('file'))).toBe(false)
  })

  it('of a process that has ended is abandoned', () => {
    expect(isAbandonedName(nameOfDead('file'))).toBe(true)
  })

  it('of an earlier process with the same ID is abandoned', () => {
    const earlier = temporaryName('file').replace(`-${process.pid}.`, `-${process.pid}.9`)
    expect(isAbandonedName(earlier)).toBe(process.platform === 'linux')
  })

  it('of another PID namespace is abandoned only after a reboot', () => {
    const parts = nameOfDead('file').split('.')
    const withPart = (index: number, text: string) => parts.with(index, text).join('.')
    expect(isAbandonedName(withPart(-2, '1'))).toBe(false)
    expect(isAbandonedName(withPart(-3, '0'.repeat(32)))).toBe(true)
  })

  it('of another program is not abandoned', () => {
    expect(['.tmp-file', '.tmp-file-0123456789ab', 'file'].filter(isAbandonedName)).toEqual([])
  })
})

/**
 * @module-tag unit
 * @module-tag every-identity
 */
import { readFileSync, renameSync } from 'node:fs'
import { constants } from 'node:os'
import { describe, expect, it } from 'vitest'
import { errnoName, systemError } from '#layerstack/sys/errno.js'
import { noLinux, unless } from '../support/needs.js'
import { thrownBy } from './scratch.js'

describe('system errors', () => {
  it('have the fields and the message of an error of node:fs', () => {
    const theirs = thrownBy(() => readFileSync('/nowhere/at/all'))
    const ours = systemError('ENOENT', 'open', '/nowhere/at/all')
    expect(ours).toBeInstanceOf(Error)
    expect({ ...ours, message: ours.message }).toEqual({ ...theirs, message: theirs.message })
  })

  it('name both paths of a call with two paths', () => {
    const theirs = thrownBy(() => renameSync('/nowhere/a', '/nowhere/b'))
    const ours = systemError('ENOENT', 'rename', '/nowhere/a', Buffer.from('/nowhere/b'))
    expect({ ...ours, message: ours.message }).toEqual({ ...theirs, message: theirs.message })
  })

  it('have a name for common errno values, some of which Node does not know', unless(noLinux), () => {
    for (const [code, number] of Object.entries(constants.errno)) {
      const shared = { EWOULDBLOCK: 'EAGAIN', EOPNOTSUPP: 'ENOTSUP' }[code] ?? code
      if (code !== 'EDEADLOCK') expect(errnoName(number)).toMatch(new RegExp(`^(${shared}|E${number})$`))
    }
    const names = [1, 2, 11, 17, 39, 61, 95, 116, 117, 122].map(errnoName)
    expect(names.join(' ')).toBe('EPERM ENOENT EAGAIN EEXIST ENOTEMPTY ENODATA ENOTSUP ESTALE EUCLEAN EDQUOT')
    expect(errnoName(4000)).toBe('E4000')
    expect(systemError('EUCLEAN', 'read').errno).toBe(-117)
  })
})

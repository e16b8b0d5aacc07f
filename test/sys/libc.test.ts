/** @module-tag every-identity */
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { bind, cString, libcAvailable } from '#layerstack/sys/libc.js'
import { noCalls, unless } from '../support/needs.js'
import { thrownBy } from './scratch.js'

describe('C library', () => {
  it('is available, or libcAvailable() reports the reason', () => {
    const { works, reason } = libcAvailable()
    expect(works).toBe(reason === undefined)
    if (process.platform !== 'linux') expect(reason).toContain('Linux only')
  })

  it('is not loaded before the first call', () => {
    const script = `
      await import('#layerstack/sys/xattr.js'); await import('#layerstack/sys/mount-overlay.js')
      await import('#layerstack/sys/probe.js'); await import('#layerstack/durable/lock.js')
      const loaded = () => process.report.getReport().sharedObjects.some((path) => path.includes('koffi'))
      const before = loaded()
      const { works } = (await import('#layerstack/sys/libc.js')).libcAvailable()
      console.log(before, loaded() === works)`
    expect(child(script)).toBe('false true')
  })

  it('makes calls throw ENOSYS with the reason if it is not available', () => {
    const script = `
      const { libcAvailable } = await import('#layerstack/sys/libc.js')
      const { lgetxattr } = await import('#layerstack/sys/xattr.js')
      try { lgetxattr('/', 'user.x') }
      catch ({ code, message }) { console.log(JSON.stringify([libcAvailable(), code, message])) }`
    expect(JSON.parse(child(script, { LAYERSTACK_NO_KOFFI: '1' }))).toEqual([
      { works: false, reason: 'LAYERSTACK_NO_KOFFI is set' },
      'ENOSYS',
      'ENOSYS: LAYERSTACK_NO_KOFFI is set',
    ])
  })

  it('makes a missing function throw ENOSYS when it is called, not when it is bound', unless(noCalls), () => {
    const missing = bind('int layerstack_has_no_such_function(int x)')
    expect(thrownBy(() => missing(1)).code).toBe('ENOSYS')
  })
})

describe('path for a system call', () => {
  it('ends in a NUL byte, and may not contain another', () => {
    expect(cString('é')).toEqual(Buffer.from([0xc3, 0xa9, 0]))
    expect(cString(Buffer.from([0xff]))).toEqual(Buffer.from([0xff, 0]))
    expect(() => cString('/etc/passwd\0.txt')).toThrow(TypeError)
    expect(() => cString(Buffer.from('a\0b'))).toThrow(TypeError)
  })
})

function child(script: string, environment: Record<string, string> = {}): string {
  const args = ['--input-type=module', '--eval', script]
  return execFileSync(process.execPath, args, {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  }).trim()
}

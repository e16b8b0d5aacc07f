import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, mkdirSync, realpathSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasCapability } from '#layerstack/sys/capabilities.js'
import { libcAvailable } from '#layerstack/sys/libc.js'
import { unmountIfMounted } from '#layerstack/sys/mount.js'
import { findProgram } from '../support/program.js'

export const canCall = libcAvailable().works
export const canMount = canCall && hasCapability('CAP_SYS_ADMIN')
export const canMakeDevices = canCall && hasCapability('CAP_MKNOD')
export const canGiveAway = hasCapability('CAP_CHOWN')

/** A temporary directory and the mounts that a test makes in it. Disposal unmounts and removes all. */
export class Scratch implements Disposable {
  readonly root = realpathSync(mkdtempSync(join(tmpdir(), 'layerstack-sys-')))
  readonly #mounts: string[] = []

  path(...names: string[]): string {
    return join(this.root, ...names)
  }

  file(name: string, content: string | Buffer = ''): string {
    writeFileSync(this.path(name), content)
    return this.path(name)
  }

  directory(name: string): string {
    mkdirSync(this.path(name), { recursive: true })
    return this.path(name)
  }

  /** Disposal unmounts `target` if it is mounted then. */
  willMount(target: string): string {
    this.#mounts.push(target)
    return target
  }

  /** Makes a filesystem in a file and mounts it. @returns the mount point */
  fileSystem(mkfs: readonly [program: string, ...args: string[]], megabytes: number): string {
    const image = this.file('image')
    truncateSync(image, megabytes << 20)
    const [program, ...args] = mkfs
    execFileSync(findProgram(program) ?? program, [...args, image], { stdio: 'pipe' })
    const target = this.directory('fs')
    execFileSync('mount', ['-o', 'loop', image, this.willMount(target)], { stdio: 'pipe' })
    return target
  }

  [Symbol.dispose](): void {
    for (const target of this.#mounts.toReversed()) unmountIfMounted(target)
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** The error that a call throws. */
export function thrownBy(call: () => unknown): NodeJS.ErrnoException {
  try {
    call()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('the call did not throw')
}

/** Runs a script in another Node process until it is killed. */
export function runScript(script: string, cwd: string): { kill(): void } {
  return spawn(process.execPath, ['--eval', script], { cwd, stdio: 'ignore' })
}

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { StoreError } from '../errors.js'

const execute = promisify(execFile)

/** Reports whether the program exists on the path or in `/usr/sbin` or `/sbin`. */
export function isInstalled(program: string): boolean {
  return searchPath().some((directory) => existsSync(join(directory, program)))
}

/** Runs a program such as mkfs. Rejects as `execFile` does. */
export async function runProgram(program: string, args: readonly string[]): Promise<void> {
  await execute(program, args, { env: { ...process.env, PATH: searchPath().join(delimiter) } })
}

/** Creates a file system. On failure, the error message includes the program's stderr. */
export async function mkfs(program: string, args: readonly string[], hint: string): Promise<void> {
  try {
    await runProgram(program, args)
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim() ?? ''
    throw new StoreError('SYSTEM', `${program} failed: ${said}`, { cause: error, hint })
  }
}

function searchPath(): string[] {
  const given = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '')
  return [...given, '/usr/sbin', '/sbin']
}

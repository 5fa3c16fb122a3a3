// Compiled SQL, laid out for reading.
import { duckdb, formatDialect } from "sql-formatter";

// Beyond it the layout of a text takes seconds, and nobody reads it.
const LONGEST = 100_000;

/** The same SQL on lines, by its clauses; as it is where it is too long, or nothing that the library knows. */
export function pretty(sql: string): string {
  if (sql.length > LONGEST) return sql;
  try {
    return formatDialect(sql, { dialect: duckdb, expressionWidth: 100 });
  } catch {
    return sql;
  }
}

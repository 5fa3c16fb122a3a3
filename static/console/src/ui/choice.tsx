// One of several texts; an empty one stands for none.
interface ChoiceProps<T extends string> {
  label: string;
  signal: { value: T };
  options: readonly T[];
}

export function Choice<T extends string>({ label, signal, options }: ChoiceProps<T>) {
  return (
    <label class="field">
      {label}
      <select
        value={signal.value}
        onChange={(event) => {
          signal.value = event.currentTarget.value as T;
        }}
      >
        {options.map((option) => (
          <option key={option} value={option}>
            {option || "–"}
          </option>
        ))}
      </select>
    </label>
  );
}
